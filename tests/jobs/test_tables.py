"""What stages leave for each other."""

from pathlib import Path

from jobs import tables
from reid.config import load_config


def test_an_earlier_stage_drops_what_later_ones_made_of_its_last_result(tmp_path: Path) -> None:
    config = load_config(None, [f"out={tmp_path}"])
    for stage in ("embed", "cluster", "truth", "report"):
        tables.write_summary(config, stage, {"seconds": 1.0})
    assert {"embed", "cluster", "truth", "report"} < set(tables.read_summary(str(tmp_path)))
    tables.write_summary(config, "cluster", {"seconds": 2.0})
    assert set(tables.read_summary(str(tmp_path))) == {"embed", "cluster", "versions"}
