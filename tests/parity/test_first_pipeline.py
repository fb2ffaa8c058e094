"""The first re-identification pipeline: a folder of crops becomes folders of individuals, a table and a page.

Its steps: embed all crops of a folder, cluster them, copy each cluster's pictures into a folder of its own and the others
into `unmatched`, write a CSV of who is who; the same again when there are new pictures, without embedding the old ones.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.common import outputs
from tests.jobs import made_up

CROPS = {"a1": 0, "a2": 2, "b1": 50, "b2": 52, "alone": 120}


@pytest.mark.usefixtures("photographs")
def test_from_crops_to_folders(
    reid: Callable[..., int], said: Callable[[], str], tmp_path: Path
) -> None:
    crops, out = tmp_path / "crops", tmp_path / "out"
    made_up.photograph(crops, {name: made_up.at(degrees) for name, degrees in CROPS.items()})
    command = ("run", "-i", crops, "-o", out, "--species", "leopard", "--store", tmp_path / "e",
               "cluster.eps=0.05", "report.enabled=false")  # fmt: skip
    assert reid(*command) == 0
    assert (
        reid("export", "-r", out, "-f", "folders", "--images", "copy", "-o", tmp_path / "one") == 0
    )

    def folders(place: Path) -> dict[str, set[str]]:
        found = list(place.rglob("*.jpg"))
        names = {path.parent.name for path in found}
        return {
            name: {path.name.partition("_")[2] for path in found if path.parent.name == name}
            for name in names
        }

    assert sorted(map(sorted, folders(tmp_path / "one").values())) == [
        ["a1.jpg", "a2.jpg"], ["alone.jpg"], ["b1.jpg", "b2.jpg"]
    ]  # fmt: skip
    assert folders(tmp_path / "one")["unmatched"] == {"alone.jpg"}
    with (out / outputs.IDENTITIES).open() as stream:
        rows = {row["image_path"]: row for row in csv.DictReader(stream)}
    assert rows["a1.jpg"]["nearest_image"] == "a2.jpg"
    assert rows["a1.jpg"]["cluster_label"] == rows["a2.jpg"]["cluster_label"] != ""

    made_up.photograph(crops, {"alone too": made_up.at(121)})
    said()
    assert reid(*command) == 0
    told = said()
    assert "1 embedded and written, 5 skipped" in told
    assert "replace those of trial 1 (species=leopard cluster.eps=0.05)" in told
    assert reid("export", "-r", out, "-f", "folders", "-o", tmp_path / "two") == 0
    assert {"alone.jpg", "alone too.jpg"} in folders(tmp_path / "two").values()
