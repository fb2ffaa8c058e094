"""Collections of small animals (BiodivX): near copies within one camera's minutes become one animal.

Its steps: crops named by time, cosine similarity over 0.9 within 30 s, or within 100 px and 300 s, joined transitively;
one picture a cluster, `filename,cluster`, cluster folders, embeddings. Theirs never joins across chunks of 10,000.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from jobs.common import outputs
from reid import store
from tests.jobs import made_up

# name → (degrees, x of the box); 0.9 is 26°
CROPS = {
    "20260531_120000": (0, 10),
    "20260531_120020": (15, 400),  # 20 s behind the first
    "20260531_120040": (30, 800),  # 30° from the first, and joined through the second
    "20260531_120430": (32, 820),  # 230 s behind, and 20 px
    "20260531_121500": (31, 820),  # another quarter of an hour
    "20260531_120010": (90, 10),  # another animal
    "moth": (1, 10),  # nobody knows when
}


@pytest.mark.usefixtures("photographs")
def test_near_copies_become_one_picture(
    reid: Callable[..., int], said: Callable[[], str], tmp_path: Path
) -> None:
    images = tmp_path / "crops"
    made_up.photograph(images, {k: made_up.at(v) for k, (v, _) in CROPS.items()})
    boxes = [f"[{x}, 10, 20, 20]" for _, x in CROPS.values()]
    table = pd.DataFrame({"path": [f"{name}.jpg" for name in CROPS], "bbox": boxes})
    table.assign(location_id="screen 1").to_csv(images / "crops.csv", index=False)
    out = tmp_path / "out"
    gates = ("cluster.gate_seconds=30", "cluster.gate_pixels=100", "--time-format", "%Y%m%d_%H%M%S")
    source = ("-i", images / "crops.csv", "--species", "moth", "-o", out, "report.enabled=false")
    assert reid("run", *source, *gates, "cluster.method=threshold", "--store", tmp_path / "e") == 0
    told = said()
    assert "1 file names have no time %Y%m%d_%H%M%S, for example moth.jpg" in told
    assert "1 images without a time are joined with nothing" in told
    rows = store.read_table(str(out / outputs.ANNOTATIONS)).to_pandas()
    found = store.read_table(str(out / outputs.CLUSTERS)).to_pandas()
    cluster = rows.merge(found, on="annotation_id").set_index("image_path")["cluster"]
    first, *others = (cluster[f"{name}.jpg"] for name in CROPS)
    assert others == [first, first, first, -1, -1, -1]
    assert reid("cluster", "-o", out, "cluster.method=threshold", "cluster.gate_seconds=null",
                "cluster.gate_pixels=null") == 0  # fmt: skip
    everybody = store.read_table(str(out / outputs.CLUSTERS)).to_pandas()["cluster"]
    assert sorted(everybody) == [-1, *[0] * 6], "without gates the closure of cosine over 0.9"

    for number, name in enumerate(CROPS):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 900, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels)
        blur = 0 if name == "20260531_120020" else 2  # the only one in focus
        picture.filter(ImageFilter.GaussianBlur(blur)).save(images / f"{name}.jpg")
    export = ("export", "-r", out, "-f", "deduplicated")
    for keep, expected in (("sharpest", "20260531_120020"), ("first", "20260531_120000")):
        to = tmp_path / keep
        assert reid(*export, "-o", to, "--keep", keep, "--images", "copy") == 0
        kept = sorted(path.name for path in (to / "representatives").iterdir())
        assert len(kept) == 2
        assert f"{expected}.jpg" in " ".join(kept)
    listed = pd.read_csv(tmp_path / "first" / "clusters.csv")
    assert listed.columns.tolist() == ["filename", "cluster"]
    assert len(listed) == len(CROPS)
    with np.load(tmp_path / "first" / "embeddings.npz") as stored:
        assert stored["embeddings"].shape == (7, 2)
        assert set(stored["filenames"]) == {f"{name}.jpg" for name in CROPS}
    said()
    assert reid(*export, "-o", tmp_path / "medoid", "--keep", "medoid") == 0
    assert "2 pictures stand for 7: the medoid of each cluster" in said()
    assert reid(*export, "-o", tmp_path / "medoid") == 1
    assert "is there already" in said()
    assert reid(*export, "-o", tmp_path / "other", "--keep", "best") == 1
    assert "--keep best: known: sharpest, medoid, first" in said()
    assert reid("export", "-r", out, "-f", "folders", "-o", tmp_path / "folders") == 0
    assert len(list((tmp_path / "folders" / "clusters").iterdir())) == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("cluster.gate_seconds=30",), "only with cluster.method=threshold"),
        (("cluster.method=threshold", "rerank=auto"), "leave out rerank.mode"),
    ],
)
def test_gates_that_would_be_passed_over(
    reid: Callable[..., int],
    said: Callable[[], str],
    tmp_path: Path,
    settings: tuple[str, ...],
    expected: str,
) -> None:
    assert reid("run", "-i", tmp_path, "-o", tmp_path / "out", *settings) == 1
    assert expected in said()
