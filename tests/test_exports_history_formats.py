"""Each program's files, of the leopard cats, as their own readers take them."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reid.errors import InputError
from reid.exports.camtrapr import camtrapr_files
from reid.exports.deployments import Stations, read_stations
from reid.exports.histories import Histories, make_histories
from reid.exports.mark import mark_files
from reid.exports.matrix import matrix_files
from reid.exports.multimark import encounter_types, multimark_files
from reid.exports.oscr import oscr_files
from reid.exports.rmark import rmark_files
from reid.exports.secr import secr_files
from reid.exports.sightings import choose
from reid.exports.spacecap import spacecap_files
from tests.leopard_cats import CAMERA_TABLE, cats, frame

SEXES = {"1": "F", "2": "M", "3": "F"}


@pytest.fixture
def stations(tmp_path: Path) -> Stations:
    (tmp_path / "cameras.csv").write_text(CAMERA_TABLE)
    return read_stations(str(tmp_path / "cameras.csv"))


@pytest.fixture
def histories(stations: Stations) -> Histories:
    return make_histories(cats(), stations, occasion_days=10)


@pytest.fixture
def sexed(stations: Stations) -> Histories:
    return make_histories(cats(), stations, occasion_days=10, sexes=SEXES)


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def fields(text: str) -> list[list[str]]:
    """Lines as R's read.table sees them: comments gone, blanks between fields."""
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def test_secr_reads_the_table_of_the_documentation(histories: Histories) -> None:
    files = secr_files(histories)
    captures = pd.DataFrame(
        fields(files["captures.txt"]), columns=["session", "id", "occasion", "detector"]
    )
    assert set(captures["session"]) == {"leopard-cat"}
    by_occasion = captures.groupby("occasion")
    assert by_occasion["id"].nunique().tolist() == [2, 2, 3, 2, 1]
    assert by_occasion.size().tolist() == [3, 4, 4, 3, 1]
    assert by_occasion["detector"].nunique().tolist() == [2, 3, 3, 2, 1]
    assert files["traps.txt"].startswith("# Detector X Y ")
    assert fields(files["traps.txt"]) == [
        ["A", "526000", "604000", "9.5", "10", "10", "10", "2.5"],
        ["B", "523000", "606000", "8.5", "10", "10", "10", "4.5"],
        ["C", "525000", "607050", "7.5", "10", "10", "10", "0"],
    ]
    assert "binary.usage = FALSE, noccasions = 5)" in files["README.txt"]
    assert "covnames" not in files["README.txt"]


def test_secr_counts_repeat_lines_for_encounters(histories: Histories) -> None:
    files = secr_files(histories, detector="count")
    assert len(fields(files["captures.txt"])) == 18
    assert 'detector = "count"' in files["README.txt"]


def test_secr_has_sex_where_it_is_known(stations: Stations) -> None:
    some = make_histories(cats(), stations, occasion_days=10, sexes={"1": "F"})
    files = secr_files(some)
    assert files["captures.txt"].startswith("# Session ID Occasion Detector Sex\n")
    assert {(line[1], line[4]) for line in fields(files["captures.txt"])} == {
        ("1", "F"),
        ("2", "NA"),
        ("3", "NA"),
    }
    assert 'covnames = "Sex"' in files["README.txt"]


def test_names_of_places_and_individuals_are_safe_for_secr(tmp_path: Path) -> None:
    text = CAMERA_TABLE.replace("\nA,", "\nNorth_ridge 1,")
    (tmp_path / "cameras.csv").write_text(text)
    table = frame()
    table["location_id"] = table["location_id"].replace("A", "North_ridge 1")
    table["identity_id"] = table["identity_id"].replace("1", "Tom & Tim / old")
    table.loc[0, "identity"] = "Tom"
    found = make_histories(choose(table), read_stations(str(tmp_path / "cameras.csv")))
    files = secr_files(found)
    assert {len(line) for line in fields(files["captures.txt"])} == {4}
    assert {line[3] for line in fields(files["captures.txt"])} == {"North-ridge-1", "B", "C"}
    assert "Tom-Tim-old" in {line[1] for line in fields(files["captures.txt"])}
    mapping = {line[0]: line[1] for line in rows(files["detectors.csv"])}
    assert mapping["North-ridge-1"] == "North_ridge 1"
    assert ["Tom-Tim-old", "Tom & Tim / old", "Tom"] in [
        line[1:4] for line in rows(files["individuals.csv"])
    ]


def test_oscr(sexed: Histories) -> None:
    files = oscr_files(sexed)
    encounters = rows(files["edf.csv"])
    assert encounters[0] == ["Session", "ID", "Occasion", "Detector", "Sex"]
    occasions = [line[2] for line in encounters[1:]]
    assert [occasions.count(str(one)) for one in range(1, 6)] == [3, 4, 4, 3, 1]
    traps = rows(files["tdf_leopard-cat.csv"])
    assert traps[0] == ["Detector", "X", "Y", "1", "2", "3", "4", "5", "sep", "days"]
    assert traps[3] == ["C", "525000", "607050", "1", "1", "1", "1", "0", "/", "37.5"]
    assert 'K = rep(5, 1), ntraps = rep(3, 1), tdf.sep = "/"' in files["README.txt"]
    assert 'sex.col = 5, sex.nacode = "U"' in files["README.txt"]


def test_mark(histories: Histories, sexed: Histories) -> None:
    assert mark_files(histories)["histories.inp"] == (
        "/* 1 */ 11110 1;\n/* 2 */ 11101 1;\n/* 3 */ 00110 1;\n"
    )
    assert mark_files(sexed)["histories.inp"] == (
        "/* 1 */ 11110 1 0;\n/* 2 */ 11101 0 1;\n/* 3 */ 00110 1 0;\n"
    )


def test_rmark_keeps_leading_zeros_as_text(histories: Histories, sexed: Histories) -> None:
    assert rmark_files(histories)["histories.txt"].splitlines()[3] == '"00110"\t3'
    lines = rmark_files(sexed)["histories.txt"].splitlines()
    assert (lines[0], lines[3]) == ("ch\tid\tsex", '"00110"\t3\tF')
    assert 'field.types = c("f", "f")' in rmark_files(sexed)["README.txt"]


def test_camtrapr_tables_are_those_that_came_in(histories: Histories, stations: Stations) -> None:
    files = camtrapr_files(histories, stations)
    records = rows(files["record_table.csv"])
    assert records[0] == [
        "Station", "Species", "Individual", "DateTimeOriginal", "Date", "Time", "Directory",
        "FileName",
    ]  # fmt: skip
    assert len(records) == 22
    assert records[1] == [
        "A", "leopard cat", "1", "2009-05-07 17:11:00", "2009-05-07", "17:11:00", "A",
        "IMG_0000.JPG",
    ]  # fmt: skip
    cameras = rows(files["camtraps.csv"])
    assert cameras[0] == CAMERA_TABLE.splitlines()[0].split(",")
    assert cameras[3] == [
        "C", "607050", "525000", "2009-04-04", "2009-05-17", "2009-05-12", "2009-05-17",
    ]  # fmt: skip
    assert "hasProblems = TRUE" in files["README.txt"]
    assert "camtraps.csv" not in camtrapr_files(histories, None)


def test_camtrapr_is_told_that_no_camera_had_problems(tmp_path: Path) -> None:
    """cameraOperation stops at columns of problems in which there is none."""
    (tmp_path / "cameras.csv").write_text("detector,x,y,start,end\nA,1,2,2020-01-01,2020-01-05\n")
    stations = read_stations(str(tmp_path / "cameras.csv"))
    table = frame(location_id="A", timestamp=pd.Timestamp("2020-01-03"))
    files = camtrapr_files(make_histories(choose(table), stations), stations)
    assert rows(files["camtraps.csv"])[0][-1] == "Retrieval_date"
    assert "hasProblems = FALSE" in files["README.txt"]


def test_camtrapr_days_without_a_camera_between_two_deployments(tmp_path: Path) -> None:
    text = """\
detector,x,y,start,end
A,1,2,2020-01-01T10:00:00,2020-01-05T09:00:00
A,1,2,2020-01-09T10:00:00,2020-01-20T10:00:00
"""
    (tmp_path / "cameras.csv").write_text(text)
    stations = read_stations(str(tmp_path / "cameras.csv"))
    table = frame(location_id="A", timestamp=pd.Timestamp("2020-01-03"))
    found = make_histories(choose(table), stations)
    assert rows(camtrapr_files(found, stations)["camtraps.csv"])[1] == [
        "A", "2", "1", "2020-01-01", "2020-01-20", "2020-01-06", "2020-01-08",
    ]  # fmt: skip


def test_spacecap_counts_from_one_without_gaps(histories: Histories) -> None:
    files = spacecap_files(histories)
    captures = np.array(rows(files["animals.csv"])[1:], int)
    assert rows(files["animals.csv"])[0] == ["LOC_ID", "ANIMAL_ID", "SO"]
    assert [sorted(set(column)) for column in captures.T.tolist()] == [
        [1, 2, 3], [1, 2, 3], [1, 2, 3, 4, 5],
    ]  # fmt: skip
    assert rows(files["traps.csv"])[3] == ["3", "525000", "607050", "1", "1", "1", "1", "0"]
    assert ["location", "3", "C"] in rows(files["numbers.csv"])


def test_matrix(histories: Histories) -> None:
    assert rows(matrix_files(histories)["matrix.csv"])[1:] == [
        ["1", "1", "1", "1", "1", "0"],
        ["2", "1", "1", "1", "0", "1"],
        ["3", "0", "0", "1", "1", "0"],
    ]


def sided(stations: Stations, views: list[str | None], **options: object) -> Histories:
    table = frame().iloc[: len(views)].assign(viewpoint=views)
    return make_histories(choose(table), stations, occasion_days=10, **options)  # type: ignore[arg-type]


def test_multimark_tells_sides_apart(stations: Stations) -> None:
    left, right = "left", "right"
    views = [left, left, right, left, left, right, left, left, right, right, None]
    table = frame().iloc[:11].assign(viewpoint=views)
    table.loc[7:8, "encounter_id"] = "burst"
    found = make_histories(choose(table), stations, occasion_days=10)
    # 1: left 04-07, right 04-14, left 04-24 and 05-07.
    # 2: both in a burst, then right 04-10; left 04-21; right 04-22 and left 04-23; no side 05-14.
    assert encounter_types(found.sessions[0]).tolist() == [[1, 2, 1, 1, 0], [4, 1, 3, 0, 0]]
    text = multimark_files(found)
    assert 'data.type = "sometimes", known = known' in text["README.txt"]
    assert rows(text["known.csv"]) == [["individual", "known"], ["1", "1"], ["2", "1"]]
    apart = multimark_files(sided(stations, [left] * 11))
    assert 'data.type = "never"' in apart["README.txt"]
    assert [row[1] for row in rows(apart["known.csv"])[1:]] == ["0", "0"]
    with pytest.raises(InputError, match="leave --flank out"):
        multimark_files(sided(stations, ["left", "right"] * 5, flank="both-sessions"))
    with pytest.raises(InputError, match="no image shows the left or the right"):
        multimark_files(make_histories(cats(), stations))


def test_both_sessions_have_files_of_their_own(stations: Stations) -> None:
    views: list[str | None] = ["left", "right"] * 10
    found = sided(stations, [*views, "left"], flank="both-sessions")
    files = secr_files(found)
    assert {line[0] for line in fields(files["captures.txt"])} == {"left", "right"}
    assert files["traps_left.txt"] == files["traps_right.txt"]
    assert 'c("traps_left.txt", "traps_right.txt")' in files["README.txt"]
    assert "keep one density" in files["README.txt"]
    assert {"tdf_left.csv", "tdf_right.csv"} <= oscr_files(found).keys()
    assert {"histories_left.inp", "histories_right.inp"} <= mark_files(found).keys()
    assert {"animals_left.csv", "traps_right.csv"} <= spacecap_files(found).keys()


def test_left_outs_and_what_is_joined_are_told(stations: Stations) -> None:
    table = frame()
    table.loc[3, "timestamp"] = pd.NaT
    found = make_histories(choose(table), stations)
    files = matrix_files(found)
    assert rows(files["left_out.csv"])[1][-1] == "has no time"
    assert "left out: 1 images, each with its reason" in files["README.txt"]
    joined = sided(stations, ["left", "right"] * 5)
    assert "from both (sides joined): 2" in matrix_files(joined)["README.txt"]


@pytest.mark.parametrize("files", [secr_files, oscr_files, spacecap_files])
def test_programs_of_space_need_places_and_effort(files: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --deployments a table"):
        files(make_histories(cats(), None))  # type: ignore[operator]
    (tmp_path / "cameras.csv").write_text(
        "station,start,end\n" + "".join(f"{one},2009-04-01,2009-06-01\n" for one in "ABC")
    )
    without = make_histories(cats(), read_stations(str(tmp_path / "cameras.csv")))
    with pytest.raises(InputError, match="needs coordinates: add columns lat, lon"):
        files(without)  # type: ignore[operator]
    assert "matrix.csv" in matrix_files(without)
