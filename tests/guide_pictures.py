"""The pictures of docs/from-frames-to-a-number.md, of what the survey's test made:

REID_SURVEY_FOLDER=guide python -m pytest tests/jobs/test_survey_to_number.py
python -m tests.guide_pictures guide docs
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser import Browser

WIDTH = 1100
COLOURS = 80


def photographs(folder: Path, out: Path) -> None:
    """The first photographs of each station, a row a station, both cameras of a passing side by side."""
    rows = []
    for station in sorted(folder.iterdir()):
        names = sorted(one.name for one in (station / "100RECNX").iterdir())[:2]
        rows.append(
            [station / maker / name for name in names for maker in ("100RECNX", "100EK113")]
        )
    side, gap = 250, 6
    wide = max(map(len, rows)) * (side + gap) - gap
    sheet = Image.new("RGB", (wide, len(rows) * (170 + gap) - gap), "white")
    for y, row in enumerate(rows):
        for x, path in enumerate(row):
            picture = Image.open(path).resize((side, 170))
            sheet.paste(picture, (x * (side + gap), y * (170 + gap)))
    sheet.save(out, quality=80)


def page(browser: Browser, folder: Path, name: str, out: Path, *, height: int, whole: bool) -> None:
    """A page as it opens, in few colours, and without the folder in which it was made."""
    made = (folder / name).read_text("utf-8")
    text = made.replace(f"{folder.resolve()}/", "")
    copy = browser.home / Path(name).name
    copy.write_text(text, "utf-8")
    browser.resize(WIDTH, height)
    browser.open(copy)
    browser.screenshot(out, whole=whole)
    image = Image.open(out).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(out, optimize=True)


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("docs", type=Path)
    asked = parser.parse_args()
    photographs(asked.folder / "survey" / "photos", asked.docs / "survey-photographs.jpg")
    with tempfile.TemporaryDirectory() as home, Browser(Path(home), width=WIDTH) as browser:
        page(
            browser,
            asked.folder,
            "review0.html",
            asked.docs / "review.png",
            height=880,
            whole=False,
        )
        where = "population/population.html"
        page(browser, asked.folder, where, asked.docs / "population.png", height=800, whole=True)


if __name__ == "__main__":
    main()
