"""What stages leave for each other."""

from pathlib import Path

import pyarrow as pa
import pytest

from jobs.cli.options import later_config_of
from jobs.common import outputs
from reid import schema, store
from reid.config import Config, load_config
from reid.errors import DamagedError, InputError


def test_an_earlier_stage_drops_what_later_ones_made_of_its_last_result(tmp_path: Path) -> None:
    config = load_config(None, [f"out={tmp_path}"])
    for stage in ("embed", "cluster", "truth", "report"):
        outputs.write_summary(config, stage, {"seconds": 1.0})
    assert {"embed", "cluster", "truth", "report"} < set(outputs.read_summary(str(tmp_path)))
    outputs.write_summary(config, "cluster", {"seconds": 2.0})
    assert set(outputs.read_summary(str(tmp_path))) == {"embed", "cluster", "versions"}


def finished(place: Path) -> Config:
    """An output folder whose embedding and clustering stages have run."""
    config = load_config(None, [f"out={place}"])
    outputs.write_config(config)
    store.write_table(str(place / outputs.ANNOTATIONS), pa.table({"annotation_id": ["a", "b"]}))
    store.write_table(str(place / outputs.FAILURES), schema.FAILURES.empty_table())
    outputs.write_summary(config, "embed", {"folders": {"lynx": "x"}})
    store.write_table(str(place / outputs.CLUSTERS), pa.table({"annotation_id": ["a", "b"]}))
    store.write_json(str(place / outputs.TUNING), {"lynx": {"eps": 0.3}})
    outputs.write_summary(config, "cluster", {"seconds": 1.0})
    return config


def test_a_stage_is_read_as_it_was_written_last(tmp_path: Path) -> None:
    finished(tmp_path)
    assert outputs.read_stage(str(tmp_path), outputs.CLUSTERS, "cluster").num_rows == 2
    assert outputs.read_stage_json(str(tmp_path), outputs.TUNING, "cluster") == {
        "lynx": {"eps": 0.3}
    }
    assert len(outputs.read_failures(str(tmp_path))) == 0


def test_embeddings_are_named_from_the_folder_on_where_they_lie_in_it(tmp_path: Path) -> None:
    config = load_config(None, [f"out={tmp_path}"])
    inside, outside = f"{tmp_path}/embeddings/x", f"{tmp_path}-shared/embeddings/x"
    both = {key: {"lynx": inside, "ibex": outside} for key in ("folders", "token_folders")}
    outputs.write_summary(config, "embed", both)
    outputs.write_summary(config, "cluster", {"seconds": 1.0})
    written = store.read_json(str(tmp_path / outputs.SUMMARY))["embed"]
    assert written["token_folders"] == written["folders"]
    written = written["folders"]
    assert written == {"lynx": "embeddings/x", "ibex": outside}
    read = outputs.read_summary(str(tmp_path))["embed"]
    assert read["token_folders"] == read["folders"]
    read = read["folders"]
    assert read == {"lynx": inside, "ibex": outside}


def test_what_is_of_before_the_stage_before_it_is_refused(tmp_path: Path) -> None:
    config = finished(tmp_path)
    outputs.write_summary(config, "embed", {"folders": {}})
    assert outputs.is_outdated(str(tmp_path), "cluster")
    for read, name in ((outputs.read_stage, outputs.CLUSTERS), (outputs.read_stage_json, outputs.TUNING)):  # fmt: skip
        with pytest.raises(InputError, match=r"is of before .* run `reid cluster` again"):
            read(str(tmp_path), name, "cluster")


def test_a_stage_that_was_stopped_half_way_is_refused(tmp_path: Path) -> None:
    finished(tmp_path)
    store.write_table(str(tmp_path / outputs.CLUSTERS), pa.table({"annotation_id": ["a", "c"]}))
    with pytest.raises(DamagedError, match="is not what `reid cluster` wrote"):
        outputs.read_stage(str(tmp_path), outputs.CLUSTERS, "cluster")
    (tmp_path / outputs.FAILURES).unlink()
    with pytest.raises(DamagedError, match="is gone, though `reid embed` wrote it"):
        outputs.read_failures(str(tmp_path))
    (tmp_path / outputs.TUNING).write_text("{")
    with pytest.raises(DamagedError, match="not JSON"):
        outputs.read_stage_json(str(tmp_path), outputs.TUNING, "cluster")


def test_a_folder_of_before_there_were_digests_is_read(tmp_path: Path) -> None:
    finished(tmp_path)
    summary = outputs.read_summary(str(tmp_path))
    for stage in ("embed", "cluster"):
        del summary[stage]["files"]
    store.write_json(str(tmp_path / outputs.SUMMARY), summary)
    assert outputs.read_stage(str(tmp_path), outputs.CLUSTERS, "cluster").num_rows == 2
    (tmp_path / outputs.FAILURES).unlink()
    assert len(outputs.read_failures(str(tmp_path))) == 0


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"embed": 3}', "\x00", '{"embed": {}, "digest": 1}']
)
def test_a_summary_that_is_none_is_an_error_with_its_path(tmp_path: Path, content: str) -> None:
    (tmp_path / outputs.SUMMARY).write_text(content)
    with pytest.raises(DamagedError, match=r"summary\.json"):
        outputs.read_summary(str(tmp_path))


def test_settings_beside_outputs_are_those_that_were_written(tmp_path: Path) -> None:
    finished(tmp_path)
    path = tmp_path / outputs.CONFIG
    outputs.check_config(str(path))
    assert later_config_of(None, ["cluster.eps=0.3"], out=str(tmp_path)).cluster.eps == 0.3
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(DamagedError, match="If the change is meant, give the file with --config"):
        later_config_of(None, [], out=str(tmp_path))
    assert later_config_of(str(path), [], out=str(tmp_path)).seed == 1
    path.write_text(path.read_text().rpartition("# digest")[0])  # as a person's file, or an old one
    assert later_config_of(None, [], out=str(tmp_path)).seed == 1


def test_a_page_that_is_outdated_is_kept_under_another_name(tmp_path: Path) -> None:
    (tmp_path / outputs.REPORT).write_text("old")
    assert outputs.set_aside(str(tmp_path), outputs.REPORT)
    assert not outputs.set_aside(str(tmp_path), outputs.REPORT)
    assert [path.name for path in tmp_path.iterdir()] == [outputs.OUTDATED + outputs.REPORT]
