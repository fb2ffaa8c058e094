"""What stages leave for each other."""

from pathlib import Path

from jobs.common import outputs
from reid.config import load_config


def test_an_earlier_stage_drops_what_later_ones_made_of_its_last_result(tmp_path: Path) -> None:
    config = load_config(None, [f"out={tmp_path}"])
    for stage in ("embed", "cluster", "truth", "report"):
        outputs.write_summary(config, stage, {"seconds": 1.0})
    assert {"embed", "cluster", "truth", "report"} < set(outputs.read_summary(str(tmp_path)))
    outputs.write_summary(config, "cluster", {"seconds": 2.0})
    assert set(outputs.read_summary(str(tmp_path))) == {"embed", "cluster", "versions"}
