"""Files that were written again: what they show is compared, in the way in which it was hashed."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jobs.catalogue.unchanged_files import NO_IMAGE, _hashes
from reid.picture_hash import content_hash, file_hash


def upload(folder: Path) -> list[dict[str, Any]]:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.jpg")
    (folder / "b.jpg").write_text("no picture any more")
    return [
        {
            "annotation_id": name,
            "source_key": "1",
            "root": str(folder),
            "image_path": f"{name}.jpg",
            "bbox": None,
        }
        for name in "abc"
    ]


def test_each_file_is_hashed_as_its_embedding_was_and_read_once(tmp_path: Path) -> None:
    rows = upload(tmp_path)
    data = (tmp_path / "a.jpg").read_bytes()
    catalogue = str(tmp_path / "catalogue")
    for _ in range(2):
        assert _hashes(catalogue, rows, [False] * 3) == [content_hash(data, None), NO_IMAGE, None]
        assert _hashes(catalogue, rows[:1], [True]) == [file_hash(data, None)]
    (tmp_path / "a.jpg").write_bytes(b"read no more: what it holds is remembered")
    assert _hashes(catalogue, rows[:1], [False]) == [content_hash(data, None)]


def test_a_keyword_written_into_a_known_file_makes_it_no_other(tmp_path: Path) -> None:
    rows = upload(tmp_path)[:1]
    before = _hashes(str(tmp_path / "c"), rows, [False])
    file = tmp_path / "a.jpg"
    data = file.read_bytes()
    file.write_bytes(data[:2] + b"\xff\xfe\x00\x0bindiv=042" + data[2:])
    rows[0]["source_key"] = "2"
    assert _hashes(str(tmp_path / "c"), rows, [False]) == before
