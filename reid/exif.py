"""When a picture was taken, as its camera wrote it."""

import datetime
import re

from PIL import Image

EXIF_IFD, DATE_TIME_ORIGINAL, OFFSET_TIME_ORIGINAL = 0x8769, 0x9003, 0x9011
# Before this no digital camera took pictures of animals: a clock that was never set.
EARLIEST_YEAR = 1990

_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


def time_taken(image: Image.Image) -> tuple[datetime.datetime | None, int | None]:
    """EXIF's DateTimeOriginal and OffsetTimeOriginal of an opened picture.

    Returns:
        The camera's wall clock, without a zone, and its offset from UTC in minutes. None where it is
        not said or cannot be: `0000:00:00`, a year before 1990, a day after tomorrow. An offset alone
        says nothing, so it is None where the time is.
    """
    try:
        fields = image.getexif().get_ifd(EXIF_IFD)
        written, zone = fields.get(DATE_TIME_ORIGINAL), fields.get(OFFSET_TIME_ORIGINAL)
    # EXIF of broken cameras raises anything; a picture without a time is still a picture.
    except Exception:  # noqa: BLE001
        return None, None
    taken = _wall_clock(written)
    return taken, (_minutes(zone) if taken else None)


def _wall_clock(written: object) -> datetime.datetime | None:
    text = written.strip("\0 ")[:19] if isinstance(written, str) else ""
    try:
        taken = datetime.datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    tomorrow = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(days=1)
    return taken if taken.year >= EARLIEST_YEAR and taken <= tomorrow else None


def _minutes(zone: object) -> int | None:
    found = _OFFSET.fullmatch(zone.strip("\0 ")) if isinstance(zone, str) else None
    if not found:
        return None
    minutes = 60 * int(found[2]) + int(found[3])
    if minutes > 14 * 60:  # no country is further from Greenwich
        return None
    return minutes if found[1] == "+" else -minutes
