"""All pictures that were given, before anything is grouped: files that open from disk, with filters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from PIL import Image

from reid import store
from reid.book.pictures import LARGE_PX, PicturesWritten, write_pictures
from reid.report.html import encoded, json_for_script, render

MOST_VALUES = 2000  # of a filter's list; with more, there is the search

# Column, title, what is said where there is none.
FILTERS = (
    ("folder", "Folder", "(the folder itself)"),
    ("individual", "Individual", "not known"),
    ("species", "Species", "not known"),
    ("place", "Place", "not known"),
    ("side", "Side", "not known"),
)


def write_browser(
    to: str,
    annotations: pd.DataFrame,
    picture: Callable[[str], Image.Image],
    *,
    described: str,
    failures: Sequence[tuple[str, str]] = (),
    large_px: int = LARGE_PX,
    advance: Callable[[int], None] | None = None,
) -> PicturesWritten:
    """Write `to/index.html` and `to/pictures/…`; the page last.

    Args:
        to: folder or URI.
        annotations: columns of schema.ANNOTATIONS, one row an annotation.
        picture: gives the picture of an annotation, cropped; called from several threads.
        described: where they come from, in words.
        failures: path and reason of what could not be read from the sources at all.
        large_px: longer side of the pictures that are enlarged; 0: the small ones are enlarged.
        advance: called with the number of pictures that are done.
    """
    ids, keys = annotations["annotation_id"], annotations["source_key"].fillna("")
    written = write_pictures(to, dict(zip(ids, keys, strict=True)), large_px, picture, advance)
    shown = _shown(annotations)
    for one, row in shown.items():
        if one not in written.lost:
            row["small"], row["src"] = (
                written.link(one, written.sizes[place]) for place in (0, -1)
            )
    whens = sorted(row["when"] for row in shown.values() if row["when"])
    page = render(
        "browse.html",
        pictures=len(shown),
        folders=len({row["folder"] for row in shown.values()}),
        labelled=int(annotations["identity"].notna().sum()),
        individuals=int(annotations["identity"].nunique()),
        species=sorted(annotations["species"].dropna().unique()),
        first=whens[0][:10] if whens else "",
        last=whens[-1][:10] if whens else "",
        described=described,
        choices=_choices(shown),
        notes=[
            f"{title} has more than {MOST_VALUES:,} values: search for one instead of choosing it"
            for name, title, _ in FILTERS
            if len({row[name] for row in shown.values()}) > MOST_VALUES
        ],
        lost=[*((shown[one]["path"], why) for one, why in written.lost.items()), *failures],
        content=json_for_script(shown),
    )
    store.write_bytes(written.index, encoded(page))
    return written


def _shown(annotations: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """annotation_id → what the page knows of it."""
    found = {}
    for row in annotations.to_dict("records"):
        when = "" if pd.isna(row["timestamp"]) else f"{row['timestamp']:%Y-%m-%d %H:%M}"
        species, who, place, side = (
            _text(row.get(name)) for name in ("species", "identity", "location_id", "viewpoint")
        )
        found[row["annotation_id"]] = {
            "path": row["image_path"],
            "folder": row["image_path"].rpartition("/")[0],
            "individual": who,
            "species": species,
            "place": place,
            "side": side,
            "when": when,
            "words": " · ".join(filter(None, [species, place, side, when])),
        }
    return found


def _text(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)


def _choices(shown: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those that have something to choose between."""
    found = []
    for name, title, none in FILTERS:
        counts = pd.Series([row[name] for row in shown.values()], dtype=object).value_counts()
        if 1 < len(counts) <= MOST_VALUES:
            options = sorted(counts.items(), key=lambda item: (not item[0], str(item[0]).lower()))
            found.append({"name": name, "title": title, "none": none, "options": options})
    return found
