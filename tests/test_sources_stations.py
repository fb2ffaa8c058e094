"""Places from folders, and bursts from places and times."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reid.errors import InputError
from reid.sources import How, read_sources
from reid.sources.stations import burst_names, bursts, places_from_folders, vote


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("N1/100RECNX/a.jpg", "N1"),
        ("N1/DCIM/100MEDIA/a.jpg", "N1"),
        ("north/N1/101EK113/a.jpg", "north/N1"),
        ("N1/100_BTCF/a.jpg", "N1"),
        ("N1/100CANON/a.jpg", "N1"),
        ("DCIM/100DSCIM/a.jpg", None),
        ("a.jpg", None),
        ("/elsewhere/N1/a.jpg", None),
    ],
)
def test_the_folders_of_cameras_are_no_places(path: str, place: str | None) -> None:
    assert places_from_folders(pa.array([path])).to_pylist() == [place]


def test_other_habits_of_naming_places() -> None:
    paths = pa.array(["2021/N1/DCIM/a.jpg", "2022/N2/b.jpg", "c.jpg"])
    assert places_from_folders(paths, level=2).to_pylist() == ["N1", "N2", None]
    assert places_from_folders(paths, pattern=r"/(N\d)/").to_pylist() == ["N1", "N2", None]
    for wrong in ("(", "N", "(N)(M)", "(?P<x>N"):
        with pytest.raises(InputError, match=r"sources\.location_pattern"):
            places_from_folders(paths, pattern=wrong)


def clock(*seconds: float | None) -> pa.Array:
    start = datetime(2021, 4, 11, 20, 43)
    return pa.array(
        [None if one is None else start + timedelta(seconds=one) for one in seconds],
        pa.timestamp("us"),
    )


def test_bursts_end_with_a_pause_a_place_or_a_group() -> None:
    moments = clock(0, 60, 130, 10, 5, None)
    places = pa.array(["N1", "N1", "N1", "N2", None, "N1"])
    offsets = pa.nulls(6, pa.int16())
    first = bursts(places, moments, offsets, gap_seconds=60)
    assert first.tolist() == [0, 0, 2, 3, -1, -1]
    species = pa.array(["lynx", "fox", "fox", "fox", "fox", "fox"])
    assert bursts(places, moments, offsets, [species], gap_seconds=60).tolist() == [
        0,
        1,
        2,
        3,
        -1,
        -1,
    ]
    names = burst_names(first, places, moments).to_pylist()
    assert names[:3] == ["N1 2021-04-11T20:43:00"] * 2 + ["N1 2021-04-11T20:45:10"]
    assert names[4:] == [None, None]


def test_clocks_with_offsets_meet_in_utc() -> None:
    moments = clock(0, 3600)
    places = pa.array(["N1", "N1"])
    assert bursts(places, moments, pa.array([60, 120], pa.int16()), gap_seconds=60).tolist() == [
        0,
        0,
    ]
    assert bursts(places, moments, pa.array([60, 60], pa.int16()), gap_seconds=60).tolist() == [
        0,
        1,
    ]


def test_a_date_without_a_clock_makes_no_burst() -> None:
    days = pa.array([datetime(2021, 4, 11)] * 2, pa.timestamp("us"))
    places = pa.array(["N1", "N1"])
    assert bursts(places, days, pa.nulls(2, pa.int16()), gap_seconds=60).tolist() == [-1, -1]


def test_a_burst_shows_one_species() -> None:
    species = pa.array(["heron", "egret", "heron", None, "egret", "fox"])
    weights = np.asarray([0.4, 0.7, 0.5, 0.9, 0.9, 0.9])
    voted, changed = vote(species, weights, np.asarray([0, 0, 0, 0, 4, -1]))
    assert voted.to_pylist() == ["heron"] * 4 + ["egret", "fox"]
    assert changed == 2


def test_a_burst_of_a_detector_is_one_encounter_of_one_species(tmp_path: Path) -> None:
    """The example's heron of six seconds."""
    images = []
    for second, (name, score) in enumerate([("heron", 0.9), ("heron", 0.8), ("goose", 0.6)]):
        (tmp_path / f"N1/{second}.jpg").parent.mkdir(exist_ok=True)
        (tmp_path / f"N1/{second}.jpg").touch()
        box = {
            "category": "1",
            "conf": score,
            "bbox": [0.1, 0.1, 0.5, 0.5],
            "classifications": [[name, score]],
        }
        images.append(
            {
                "file": f"N1/{second}.jpg",
                "datetime": f"2021:04:11 20:43:0{second}",
                "detections": [box],
            }
        )
    data = {
        "info": {"detector": "v5"}, "detection_categories": {"1": "animal"},
        "classification_categories": {"heron": "heron", "goose": "goose"}, "images": images,
    }  # fmt: skip
    (tmp_path / "md.json").write_text(json.dumps(data))
    found = read_sources([str(tmp_path / "md.json")])
    assert set(found.annotations["species"].to_pylist()) == {"heron"}
    assert set(found.annotations["encounter_id"].to_pylist()) == {"N1 2021-04-11T20:43:00"}
    assert any("3 images are in 1 encounters" in note for note in found.notes)
    apart = read_sources([str(tmp_path / "md.json")], How(encounter_gap_seconds=0.5))
    assert len(set(apart.annotations["encounter_id"].to_pylist())) == 3


def test_encounters_that_a_source_gives_are_left_alone(tmp_path: Path) -> None:
    text = "path,encounter_id,timestamp,location_id\na.jpg,e1,2021-04-11 20:43:09,N1\nb.jpg,,2021-04-11 20:43:10,N1\n"
    (tmp_path / "t.csv").write_text(text)
    found = read_sources([str(tmp_path / "t.csv")])
    assert found.annotations["encounter_id"].to_pylist() == ["e1", None]
