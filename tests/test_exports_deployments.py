"""Tables of deployments as people and programs write them."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from reid.errors import InputError
from reid.exports.coordinates import to_metres
from reid.exports.deployments import Stations, read_stations
from reid.exports.identifiers import cleaned
from tests.leopard_cats import CAMERA_TABLE


def read(folder: Path, text: str | bytes, **options: str) -> Stations:
    file = folder / "deployments.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_stations(str(file), **options)


def test_camtrapr_table_with_problems(tmp_path: Path) -> None:
    found = read(tmp_path, CAMERA_TABLE)
    assert found.projected
    assert [one.location_id for one in found.deployments] == ["A", "B", "C"]
    last = found.deployments[2]
    assert (last.x, last.y) == (525000, 607050)
    assert (last.start, last.end) == (datetime(2009, 4, 4, 12), datetime(2009, 5, 17, 12))
    assert last.gaps == ((datetime(2009, 5, 12), datetime(2009, 5, 18)),)
    assert found.deployments[0].gaps == ()


def test_camtrap_dp_of_both_versions(tmp_path: Path) -> None:
    new = """\
deploymentID,locationID,locationName,latitude,longitude,deploymentStart,deploymentEnd
d1,,Gate,51.181,5.655,2020-05-30T04:57:37+02:00,2020-07-01T11:41:41+02:00
"""
    (one,) = read(tmp_path, new).deployments
    assert (one.location_id, one.names) == ("51.1810,5.6550", ("d1", "Gate"))
    assert (one.start, one.offset_minutes) == (datetime(2020, 5, 30, 4, 57, 37), 120)
    old = "deploymentID,locationID,longitude,latitude,start,end\nd1,L,5.6,51.1,2020-07-29T05:29:41Z,2020-08-08T04:20:40Z\n"
    (one,) = read(tmp_path, old).deployments
    assert (one.location_id, one.latitude, one.offset_minutes) == ("L", 51.1, 0)
    (tmp_path / "datapackage.json").write_text("{}")
    for place in (tmp_path, tmp_path / "datapackage.json"):
        assert read_stations(str(place)).deployments == [one]


def test_ends_in_another_offset_are_on_the_clock_of_the_start(tmp_path: Path) -> None:
    text = "detector,x,y,start,end\nA,0,0,2020-03-28T12:00:00+01:00,2020-03-30T12:00:00+02:00\n"
    (one,) = read(tmp_path, text).deployments
    assert one.end == datetime(2020, 3, 30, 11)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    text = "Detector,START,End_Date,X,Y\nSüd 1,2020-01-01,2020-01-05,1.5,2\n".replace(
        ",", separator
    )
    (one,) = read(tmp_path, text.encode(encoding)).deployments
    assert (one.location_id, one.x, one.y) == ("Süd 1", 1.5, 2)


def test_order_of_day_and_month_is_proved_by_the_dates_or_asked_for(tmp_path: Path) -> None:
    text = "detector,x,y,start,end\nA,0,0,03/04/2020,05/06/2020\n"
    with pytest.raises(InputError, match=r"'03/04/2020' may be dmy or mdy.*--date-order"):
        read(tmp_path, text)
    assert read(tmp_path, text, date_order="mdy").deployments[0].start == datetime(2020, 3, 4, 12)
    proved = text + "B,0,0,13/04/2020,05/06/2020\n"
    assert read(tmp_path, proved).deployments[0].start == datetime(2020, 4, 3, 12)
    with pytest.raises(InputError, match=r"(03/04|13/04|04/13)/2020"):
        read(tmp_path, proved + "C,0,0,04/13/2020,05/06/2020\n")
    with pytest.raises(InputError, match="--date-order month: known: dmy, mdy"):
        read(tmp_path, text, date_order="month")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read as a table"),
        ("detector,start,end\n", "a header without rows"),
        ("place,begin\nA,2020-01-01\n", "columns place, begin. Needed are Camtrap DP's"),
        ("detector,start,end\nA,2020-01-05,2020-01-01\n", "ends at 2020-01-01 12:00, before its"),
        (
            "detector,start,end\nA,soon,2020-01-01\n",
            "start is 'soon': not understood; write dates like",
        ),
        ("detector,start,end\nA,2020-02-30,2020-03-01\n", "start is '2020-02-30': "),
        ("detector,start,end\n,2020-02-03,2020-03-01\n", "no deployment with a place"),
        ("detector,start,end\nA,,2020-03-01\n", "no deployment with a place"),
        ("detector,start,end,x,y\nA,2020-02-03,2020-03-01,east,1\n", "x is 'east', not a number"),
        ("detector,start,end,lat,lon\nA,2020-02-03,2020-03-01,510,1\n", "degrees go to ±90"),
        ("detector,start,end\nA,2020-02-03,2020-03-01,5\n", "line 2"),
        ("a,a\n1,2\n", "2 columns are called 'a'"),
        (
            "station,start,end,Problem1_from\nA,2020-02-03,2020-03-01,2020-02-05\n",
            "Problem1 has no column Problem1_from or",
        ),
        (
            "station,start,end,Problem1_from,Problem1_to\nA,2020-02-03,2020-03-01,2020-02-05,\n",
            "a problem has a beginning or an end only",
        ),
        (
            "station,start,end,Problem1_from,Problem1_to\n"
            "A,2020-02-03,2020-03-01,2020-02-09,2020-02-05\n",
            "a problem ends before it begins",
        ),
    ],
)
def test_tables_that_cannot_be_used_say_why(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert said in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_stations(str(tmp_path / "nowhere.csv"))


def test_rows_without_dates_are_counted(tmp_path: Path) -> None:
    text = "detector,start,end\nA,2020-01-01,\nB,2020-01-01,2020-01-02\n"
    found = read(tmp_path, text)
    assert [one.location_id for one in found.deployments] == ["B"]
    assert "1 of 2 deployments have no start or no end" in found.notes[0]


def test_one_zone_for_all_also_across_equator_and_date_line() -> None:
    x, y, zone = to_metres(np.array([0.1, -0.1]), np.array([8.9, 9.1]))
    assert zone == "UTM zone 32N"
    assert y[0] == pytest.approx(-y[1])
    x, _, zone = to_metres(np.array([-17.0, -17.0]), np.array([179.9, -179.9]))
    assert zone == "UTM zone 1S"
    # A fifth of a degree of longitude at 17 degrees.
    assert abs(x[1] - x[0]) == pytest.approx(0.2 * 111_320 * np.cos(np.radians(17)), rel=2e-3)
    with pytest.raises(InputError, match="degrees of longitude apart"):
        to_metres(np.array([0.0, 0.0]), np.array([0.0, 120.0]))
    with pytest.raises(InputError, match="give x and y"):
        to_metres(np.array([89.0]), np.array([0.0]))


def test_cleaned_names_are_safe_and_stay_apart() -> None:
    names = ["lynx-0001", "a b", "a_b", "a-b", "Ré 3", "ℵ", "/*x*/", "A B"]
    found = cleaned(names)
    assert found["lynx-0001"] == "lynx-0001"
    assert found["a-b"] == "a-b"
    assert found["Ré 3"] == "Re-3"
    assert {found["ℵ"], found["/*x*/"]} == {"x", "x-2"}
    assert len({name.lower() for name in found.values()}) == len(names)
    with pytest.raises(InputError, match="empty name"):
        cleaned([""])
