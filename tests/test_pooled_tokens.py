"""Foregrounds and embeddings from stored patch tokens: however the parts are cut, against plain NumPy."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reid import embeddings, foreground, schema, store
from reid.errors import DamagedError, InputError
from reid.pooled_tokens import foreground_of, foreground_path, pool_stored, token_scores
from tests.test_foreground import SIDE, WIDTH, found_in, pictures

IMAGES = 12
IDS = [f"a{i:02}" for i in range(IMAGES)]
TOKENS = pictures(IMAGES)


def annotations(ids: list[str]) -> pa.Table:
    rows = [
        {"annotation_id": one, "image_path": f"{one}.jpg", "root": "", "species": "lynx", "source_key": "k"}
        for one in ids
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS)


def stored(folder: Path, shards: list[list[int]], tokens: np.ndarray = TOKENS) -> str:
    """A folder of patch tokens whose parts hold these images."""
    place = str(folder)
    for shard in shards:
        ids = [IDS[i] for i in shard]
        flat = pa.array(tokens[shard].ravel())
        table = pa.table(
            {
                "annotation_id": ids,
                "species": ["lynx"] * len(ids),
                "tokens": pa.FixedSizeListArray.from_arrays(flat, SIDE**2 * WIDTH),
                "content_hash": [f"h{one}" for one in ids],
                "source_key": ["k"] * len(ids),
                "width": pa.array([50] * len(ids), pa.int32()),
                "height": pa.array([40] * len(ids), pa.int32()),
                "timestamp": pa.nulls(len(ids), pa.timestamp("us")),
                "utc_offset_minutes": pa.nulls(len(ids), pa.int16()),
            }
        ).cast(schema.patch_tokens(SIDE**2 * WIDTH))
        embeddings.write_part(embeddings.part_path(place, embeddings.part_digest(ids)), table)
    store.write_json(f"{place}/recipe.json", {"patch_tokens": {"side": SIDE, "width": WIDTH}})
    return place


def test_a_foreground_does_not_depend_on_the_parts(tmp_path: Path) -> None:
    one = stored(tmp_path / "1/tokens", [[*range(IMAGES)]])
    other = stored(tmp_path / "2/tokens", [[7, 3], [0, 1, 2, 11, 10], [9, 8, 6, 5, 4], [7]])
    a, b = foreground_of(one, "lynx", IDS), foreground_of(other, "lynx", IDS[::-1])
    assert a.is_new
    assert a.key == b.key
    assert a.axes.images == b.axes.images == IMAGES
    np.testing.assert_allclose(a.axes.components, b.axes.components, atol=1e-4)
    np.testing.assert_allclose(a.axes.components, found_in(TOKENS, []).components, atol=1e-4)
    fewer = foreground_of(stored(tmp_path / "3/tokens", [[*range(11)]]), "lynx", IDS)
    assert fewer.key != a.key


def test_a_foreground_that_was_found_is_kept_when_images_come(tmp_path: Path) -> None:
    folder = stored(tmp_path / "tokens", [[0, 1, 2, 3]])
    first = foreground_of(folder, "lynx", IDS[:4])
    stored(tmp_path / "tokens", [[4, 5, 6]], tokens=-TOKENS)
    again = foreground_of(folder, "lynx", IDS[:7])
    assert not again.is_new
    assert again.key == first.key
    np.testing.assert_array_equal(again.axes.components, first.axes.components)
    assert foreground_of(folder, "Lynx", IDS[:7]).axes.images == 7  # another species


@pytest.mark.parametrize("weights", ["hard", "soft"])
def test_pooled_embeddings_are_the_weighted_means_by_hand(tmp_path: Path, weights: str) -> None:
    folder = stored(tmp_path / "tokens", [[5, 1, 3], [0, 2, 4, 1]])
    axes = foreground_of(folder, "lynx", IDS).axes
    pooled = str(tmp_path / "pooled")
    made, failed = pool_stored(
        folder, pooled, annotations(IDS[:5]), axes, weights=weights, threshold=0.2
    )
    assert (made, len(failed)) == (5, 0)
    held = embeddings.read_embeddings(pooled, IDS)
    assert held.found.tolist() == [0, 1, 2, 3, 4]
    assert held.content_hashes.tolist() == [f"h{one}" for one in IDS[:5]]
    for row, tokens in zip(held.vectors, TOKENS, strict=False):
        flat = tokens.reshape(-1, WIDTH).astype(np.float64)
        first = (flat - axes.mean) @ axes.components[0] / axes.spreads[0]
        counts = first > 0.2 if weights == "hard" else 1 / (1 + np.exp(-4 * (first - 0.2)))
        expected = (counts[:, None] * flat).sum(axis=0)
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-5)


def test_an_image_without_foreground_is_a_failure(tmp_path: Path) -> None:
    tokens = TOKENS.copy()
    tokens[2] = tokens[2, 0, 0]  # nothing but scene
    folder = stored(tmp_path / "tokens", [[0, 1, 2]], tokens)
    axes = foreground_of(folder, "lynx", IDS).axes
    how = {"weights": "hard", "threshold": 0.5}
    made, failed = pool_stored(folder, str(tmp_path / "pooled"), annotations(IDS[:3]), axes, **how)
    assert made == 2
    assert failed["annotation_id"].to_pylist() == ["a02"]
    assert failed["stage"].to_pylist() == ["foreground"]
    assert "embed.foreground_weights=soft" in failed["error"][0].as_py()


def test_scores_come_with_the_number_of_their_image(tmp_path: Path) -> None:
    folder = stored(tmp_path / "tokens", [[5, 1], [0, 2]])
    axes = foreground_of(folder, "lynx", IDS).axes
    found = dict(token_scores(folder, ["a02", "none", "a05"], axes))
    assert sorted(found) == [0, 2]
    np.testing.assert_allclose(found[2], foreground.scores(TOKENS[5], axes), atol=1e-5)


def test_what_is_not_there_or_damaged_says_so(tmp_path: Path) -> None:
    folder = stored(tmp_path / "tokens", [[0, 1]])
    with pytest.raises(InputError, match=r"no patch tokens of lynx are stored; give embed.tokens"):
        foreground_of(folder, "lynx", ["other"])
    foreground_of(folder, "lynx", IDS)
    path = Path(foreground_path(folder, "lynx"))
    path.write_text(path.read_text().replace('"images": 2', '"images": 3'))
    with pytest.raises(DamagedError, match="changed after it was written"):
        foreground_of(folder, "lynx", IDS)
    store.write_sealed(str(path), {"key": "x", "foreground": {}})
    with pytest.raises(DamagedError, match="it is no foreground"):
        foreground_of(folder, "lynx", IDS)
    store.write_json(f"{folder}/recipe.json", {})
    with pytest.raises(DamagedError, match="how many patch tokens"):
        foreground_of(folder, "other", IDS)
    store.remove(f"{folder}/recipe.json")
    with pytest.raises(DamagedError, match=r"recipe.json is gone"):
        foreground_of(folder, "other", IDS)
