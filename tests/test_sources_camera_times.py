"""Times that only the opened file tells, and the encounters that follow."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from reid import embeddings, schema, store
from reid.sources import read_sources
from reid.sources.camera_times import fill_encounters, fill_times


def test_times_of_the_files_fill_empty_ones_and_make_encounters(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"N1/100RECNX/{name}.jpg").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"N1/100RECNX/{name}.jpg").touch()
    reading = read_sources([str(tmp_path)])
    assert reading.annotations["encounter_id"].null_count == 4
    ids = reading.annotations["annotation_id"].to_pylist()
    times = [datetime(2021, 4, 11, 20, 43, second) for second in (9, 15)] + [
        datetime(2021, 4, 12, 5, 1)
    ]
    told = pa.table(
        {
            "annotation_id": ids,
            "timestamp": pa.array([*times, None], pa.timestamp("us")),
            "utc_offset_minutes": pa.array([60, 60, 60, None], pa.int16()),
        }
    )
    filled, count = fill_times(reading.annotations, told)
    assert count == 3
    assert filled["timestamp"].to_pylist() == [*times, None]
    assert filled["utc_offset_minutes"].to_pylist() == [60, 60, 60, None]
    assert filled.schema == schema.ANNOTATIONS
    made, (note,) = fill_encounters(filled, ~reading.given["encounter_id"], gap_seconds=60)
    assert made["encounter_id"].to_pylist() == ["N1 2021-04-11T20:43:09"] * 2 + [
        "N1 2021-04-12T05:01:00",
        None,
    ]
    assert "3 images are in 2 encounters" in note
    again, count = fill_times(filled, told)
    assert count == 0
    assert again.equals(filled)
    kept, notes = fill_encounters(filled, np.zeros(4, bool), gap_seconds=60)
    assert kept["encounter_id"].null_count == 4
    assert not notes


def test_parts_that_know_no_times_are_passed_over(tmp_path: Path) -> None:
    old = pa.table({"annotation_id": ["a"], "width": pa.array([1], pa.int32())})
    new = pa.table(
        {
            "annotation_id": ["b"],
            "timestamp": pa.array([datetime(2021, 4, 11)], pa.timestamp("us")),
            "utc_offset_minutes": pa.array([None], pa.int16()),
        }
    )
    for name, table in (("part-1", old), ("part-2", new)):
        store.write_table(str(tmp_path / f"{name}.parquet"), table)
    found = embeddings.read_times(str(tmp_path))
    assert found["annotation_id"].to_pylist() == ["b"]
    assert found["timestamp"].to_pylist() == [datetime(2021, 4, 11)]
