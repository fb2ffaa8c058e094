"""When a picture was taken."""

import datetime

import pytest
from PIL import Image

from reid.exif import time_taken


def picture(time: object, zone: object = None) -> Image.Image:
    image = Image.new("RGB", (4, 4))
    fields = image.getexif().get_ifd(0x8769)
    if time is not None:
        fields[0x9003] = time
    if zone is not None:
        fields[0x9011] = zone
    return image


def test_wall_clock_and_offset() -> None:
    when = datetime.datetime(2019, 5, 1, 22, 15, 3)
    assert time_taken(picture("2019:05:01 22:15:03")) == (when, None)
    assert time_taken(picture("2019:05:01 22:15:03\0", "-09:30")) == (when, -570)
    assert time_taken(picture("2019:05:01 22:15:03.25", "+0200")) == (when, 120)


@pytest.mark.parametrize(
    "time",
    [
        None,
        "",
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "2019-05-01 22:15:03",
        "1970:01:01 00:00:00",
        "2999:01:01 00:00:00",
        "2019:13:01 00:00:00",
        7,
        b"2019:05:01 22:15:03",
    ],
)
def test_what_no_clock_says_is_no_time(time: object) -> None:
    assert time_taken(picture(time, "+02:00")) == (None, None)


@pytest.mark.parametrize("zone", ["", "Z", "+2", "+99:00", 120, "summer"])
def test_an_offset_that_cannot_be_is_none(zone: object) -> None:
    assert time_taken(picture("2019:05:01 22:15:03", zone))[1] is None


def test_a_picture_whose_exif_cannot_be_read_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Image.Image, "getexif", broken)
    assert time_taken(Image.new("RGB", (4, 4))) == (None, None)
