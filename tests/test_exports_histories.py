"""Capture histories against the leopard cats of camtrapR's documentation, to the digit."""

from datetime import date, time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reid.errors import InputError
from reid.exports.deployments import Stations, read_stations
from reid.exports.histories import Histories, counts_table, make_histories
from reid.exports.sightings import choose
from tests.leopard_cats import CAMERA_TABLE, cats, frame


@pytest.fixture
def stations(tmp_path: Path) -> Stations:
    return read_table(tmp_path, CAMERA_TABLE)


def read_table(folder: Path, text: str, **options: str) -> Stations:
    (folder / "deployments.csv").write_text(text, encoding="utf-8")
    return read_stations(str(folder / "deployments.csv"), **options)


def made(stations: Stations | None, days: float = 10, **options: object) -> Histories:
    return make_histories(cats(), stations, occasion_days=days, **options)  # type: ignore[arg-type]


def test_the_leopard_cats_to_the_digit(stations: Stations) -> None:
    found = made(stations)
    (session,) = found.sessions
    counts = counts_table(session)
    assert counts["n"] == [2, 2, 3, 2, 1]
    assert counts["u"] == [2, 0, 1, 0, 0]
    assert counts["f"] == [0, 1, 0, 2, 0]
    assert counts["M"] == [2, 2, 3, 3, 3]
    assert counts["detections"] == [3, 4, 4, 3, 1]
    assert counts["visited"] == [2, 3, 3, 2, 1]
    assert counts["used"] == [3, 3, 3, 3, 2]
    assert session.usage is not None
    assert session.usage.min(axis=0).tolist() == [7.5, 10, 10, 10, 0]
    assert session.usage.max(axis=0).tolist() == [9.5, 10, 10, 10, 4.5]
    by_place = dict(zip(session.detectors["location_id"], session.usage.tolist(), strict=True))
    assert by_place == {
        "A": [9.5, 10, 10, 10, 2.5],
        "B": [8.5, 10, 10, 10, 4.5],
        "C": [7.5, 10, 10, 10, 0],
    }
    assert [session.words(row) for row in range(3)] == ["11110", "11101", "00110"]
    assert len(found.left_out) == 0
    assert session.captures["count"].sum() == 18, "two pictures of one minute are one encounter"


def test_the_same_from_a_plain_table_and_from_degrees(tmp_path: Path) -> None:
    plain = """\
detector;start;end;lat;lon
A;2009-04-02;2009-05-14;5,4650;117,2350
B;2009-04-03;2009-05-16;5,4830;117,2080
C;2009-04-04;2009-05-12;5,4925;117,2260
"""
    found = made(read_table(tmp_path, plain))
    (session,) = found.sessions
    assert counts_table(session)["detections"] == [3, 4, 4, 3, 1]
    assert found.zone == "UTM zone 50N"
    assert np.abs(session.detectors[["x", "y"]].iloc[0] - [526000, 604000]).max() < 200


def test_first_detector_is_in_use_on_the_first_occasion(tmp_path: Path) -> None:
    late = CAMERA_TABLE.replace("A,604000,526000,02/04/2009", "A,604000,526000,15/04/2009")
    (session,) = made(read_table(tmp_path, late)).sessions
    assert session.detectors["detector"].tolist() == ["B", "C", "A"]
    assert session.usage is not None
    assert session.usage[0, 0] > 0


def test_records_that_no_deployment_holds_are_listed(tmp_path: Path) -> None:
    short = CAMERA_TABLE.replace("A,604000,526000,02/04/2009", "A,604000,526000,22/04/2009")
    table = frame()
    table.loc[0, "timestamp"] = pd.NaT
    table.loc[4, "location_id"] = None
    table.loc[5, "location_id"] = "Z"
    found = make_histories(choose(table), read_table(tmp_path, short), occasion_days=10)
    reasons = found.left_out.set_index("image_path")["reason"]
    assert reasons["A/IMG_0000.JPG"] == "has no time"
    assert reasons["A/IMG_0001.JPG"] == "was taken outside the time of every deployment here"
    assert reasons["B/IMG_0004.JPG"] == "has no place"
    assert reasons["B/IMG_0005.JPG"] == "is at a place that no deployment names"
    assert len(reasons) == 4
    assert sum(len(one.rows) for one in found.sessions) + 4 == len(table)


def test_a_sighting_where_no_camera_was_in_use_is_listed(stations: Stations) -> None:
    table = frame()
    table.loc[20, "timestamp"] = pd.Timestamp("2009-05-13 10:00")  # C was broken all occasion
    found = make_histories(choose(table), stations, occasion_days=10)
    (out,) = found.left_out.to_dict("records")
    assert out["image_path"] == "C/IMG_0020.JPG"
    assert "no camera was in use here on this occasion" in out["reason"]


def test_a_date_alone_counts_as_noon_but_holds_pictures_of_the_whole_day(
    stations: Stations,
) -> None:
    table = frame()
    table.loc[0, "timestamp"] = pd.Timestamp("2009-04-02 07:00")
    table.loc[10, "timestamp"] = pd.Timestamp("2009-05-16 22:00")
    assert len(make_histories(choose(table), stations, occasion_days=10).left_out) == 0


def test_cameras_of_one_place_are_one_detector(tmp_path: Path) -> None:
    both = """\
station,x,y,start,end
A,0,0,2020-01-01T00:00:00,2020-01-03T00:00:00
A,0,0,2020-01-02T00:00:00,2020-01-05T00:00:00
A,0,0,2020-01-08T12:00:00,2020-01-09T00:00:00
"""
    table = frame(location_id="A", timestamp=pd.Timestamp("2020-01-01 10:00"))
    found = make_histories(choose(table), read_table(tmp_path, both), occasion_days=2)
    usage = found.sessions[0].usage
    assert usage is not None
    assert usage.tolist() == [[2, 2, 0, 0.5]]
    assert found.sessions[0].detectors["detector"].tolist() == ["A"]


def test_a_day_may_begin_at_noon(stations: Stations) -> None:
    nights = made(stations, days=1, day_starts=time(12)).sessions[0]
    assert nights.calendar.day1.isoformat() == "2009-04-02T12:00:00"
    # 04-05 00:11 and 04-05 23:13 are one day, and two nights.
    days = made(stations, days=1).sessions[0]
    assert nights.history.sum() == days.history.sum() + 1


def test_a_period_of_its_own(stations: Stations) -> None:
    found = made(stations, days=10, start=date(2009, 4, 12), end=date(2009, 5, 1))
    (session,) = found.sessions
    assert session.calendar.count == 2
    assert counts_table(session)["detections"] == [4, 4]
    assert len(found.left_out) == 21 - len(session.rows)
    assert "not between 2009-04-12 00:00 and 2009-05-02 00:00" in set(found.left_out["reason"])


def test_without_deployments_occasions_run_from_the_first_picture_to_the_last() -> None:
    (session,) = made(None).sessions
    assert session.usage is None
    assert session.calendar.day1.isoformat() == "2009-04-05T00:00:00"
    assert session.calendar.count == 4
    assert len(session.individuals) == 3
    nowhere = make_histories(choose(frame(location_id=None)), None, occasion_days=10)
    assert (nowhere.sessions[0].history == session.history).all()
    assert len(nowhere.left_out) == 0


def test_offsets_from_utc_put_pictures_onto_the_deployments_clock(tmp_path: Path) -> None:
    text = """\
deploymentID,locationID,latitude,longitude,deploymentStart,deploymentEnd
d1,A,50,4,2020-04-01T10:00:00+02:00,2020-04-10T10:00:00+02:00
"""
    stations = read_table(tmp_path, text)
    at = pd.Timestamp("2020-04-01 09:30")  # 10:30 by the deployment's clock
    table = frame(location_id="A", timestamp=at)
    assert "outside the time" in str(refused(table, stations))
    table["utc_offset_minutes"] = pd.array([60] * len(table), dtype="Int16")
    found = make_histories(choose(table), stations)
    assert set(found.sessions[0].rows["clock"]) == {pd.Timestamp("2020-04-01 10:30")}


def refused(table: pd.DataFrame, stations: Stations, **options: object) -> InputError:
    with pytest.raises(InputError) as error:
        make_histories(choose(table), stations, **options)  # type: ignore[arg-type]
    return error.value


def test_a_picture_may_name_the_deployment_instead_of_the_place(tmp_path: Path) -> None:
    text = """\
deploymentID,locationID,latitude,longitude,deploymentStart,deploymentEnd
d1,A,50,4,2009-04-01,2009-06-01
d2,A,50,4,2009-06-01,2009-07-01
d3,,51,4,2009-04-01,2009-06-01
"""
    table = frame()
    table["location_id"] = table["location_id"].map({"A": "d1", "B": "51.0000,4.0000", "C": "d3"})
    found = make_histories(choose(table), read_table(tmp_path, text))
    (session,) = found.sessions
    assert session.detectors["location_id"].tolist() == ["51.0000,4.0000", "A"]
    assert session.detectors["detector"].tolist() == ["51.0000-4.0000", "A"]
    assert len(found.left_out) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"occasion_days": 0}, "--occasion-days 0: give a length above 0"),
        ({"occasion_days": float("nan")}, "--occasion-days nan"),
        ({"start": date(2030, 1, 1)}, "the period ends at 2009-05-17 12:00, before it begins"),
        ({"end": date(1999, 1, 1)}, "see --start and --end"),
        ({"flank": "top"}, "--flank top: known: left, right, best, both-sessions"),
        ({"flank": "left"}, "nobody was seen from the left"),
    ],
)
def test_what_cannot_be_made(stations: Stations, options: dict[str, object], said: str) -> None:
    assert said in str(refused(frame(), stations, **options))


def test_no_times_at_all_says_what_to_do(stations: Stations) -> None:
    assert "EXIF dates" in str(refused(frame(timestamp=pd.NaT), stations))
    said = str(refused(frame(location_id="Z"), stations))
    assert "no sighting is left" in said
    assert "21 images: is at a place that no deployment names" in said
