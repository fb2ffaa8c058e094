"""The page itself: tables, pictures and script put into one file that needs nothing else."""

import json
import os
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from reid.errors import InputError
from reid.report.contents import by_importance, groups, page_data, tsne_left_out, widest_layout
from reid.report.data import FAILURE_COLUMNS, ReportData, check
from reid.report.html import encoded, json_for_script, render, write_page
from reid.report.thumbnails import MIME, Thumbnails, encode_thumbnails

BUDGET_BYTES = 30_000_000
MAX_IMAGES = 20_000  # a browser draws and searches this many without a wait
MAX_THUMBNAILS = 4_000
MAX_FAILURES = 500
WEBGL_ABOVE = 3000  # points of a map; up to here SVG is quick enough
MAX_TEXT = 400  # characters of one error message
PAIR_PX = (480, 360, 240)  # longer side of the pictures of pairs, at most
PAIR_SHARE = 0.4  # of the room, for them
SLACK_BYTES = 8_000  # the sentences on thumbnails that had no room or could not be read

# No user text can look like this: `<` is escaped everywhere in the page.
THUMBNAILS_GO_HERE = "<!--thumbnails-->"


def write_report(
    path: str | os.PathLike[str] | IO[bytes],
    data: ReportData,
    *,
    budget_bytes: int = BUDGET_BYTES,
    max_images: int = MAX_IMAGES,
    max_thumbnails: int = MAX_THUMBNAILS,
) -> dict[str, Any]:
    """Write one HTML page that opens from disk, with no other file and no network.

    What does not fit into `budget_bytes` is left out in a fixed order: thumbnails get smaller (192
    to 96 px), then fewer, then there are fewer images; the page and the summary say so.

    Args:
        path: local file, replaced in one step; or a binary file-like object that is written to.
        data: what to show.
        budget_bytes: hard limit on the size of the page.
        max_images: most annotations on the map and the sheets.
        max_thumbnails: most thumbnails.

    Returns:
        {"bytes", "images", "thumbnails", "thumbnail_px", "unreadable_thumbnails", "left_out"}:
        sizes and counts as int, `left_out` as list of sentences.

    Raises:
        InputError: missing columns, rows that do not match, or a budget below the bare page.
    """
    check(data)
    grouped = groups(data.annotations)
    order = by_importance(grouped)
    kept = min(max_images, len(order))
    while True:
        rows = np.sort(order[:kept])
        pictured = order[: min(kept, max_thumbnails)] if data.thumbnail else order[:0]
        # Measured with the widest coordinates and thumbnail numbers: the real ones fit as well.
        content = page_data(data, grouped, rows, layout=widest_layout)
        content["rows"]["thumbnail"] = [max(max_thumbnails, 10)] * len(rows)
        content["pairs"] = [{**pair, "pictures": [10**6, 10**6]} for pair in content["pairs"]]
        left_out = _left_out(data, rows, len(pictured), Thumbnails(), len(content["pairs"]))
        bare = len(encoded(_render(data, grouped, content, Thumbnails(), left_out)))
        room = budget_bytes - bare - SLACK_BYTES
        if room >= 0 or not kept:
            break
        kept //= 2
    if room < 0:
        raise InputError(
            f"report: budget of {budget_bytes:,} bytes; the page without any image takes "
            f"{bare + SLACK_BYTES:,}: allow at least that"
        )
    content = page_data(data, grouped, rows)
    thumbnails, large = Thumbnails(), Thumbnails()
    if data.thumbnail is not None:
        ends = [int(rows[pair[side]]) for pair in content["pairs"] for side in ("a", "b")]
        large = encode_thumbnails(
            data.thumbnail,
            list(dict.fromkeys(ends)),
            int(room * PAIR_SHARE),
            sides_px=PAIR_PX,
        )
        used = sum(len(text) + 3 for text in large.base64_by_row.values())
        thumbnails = encode_thumbnails(data.thumbnail, pictured.tolist(), room - used)
    numbers = {row: number for number, row in enumerate(thumbnails.base64_by_row)}
    content["rows"]["thumbnail"] = [numbers.get(int(row), -1) for row in rows]
    content["pairs"] = _pictured(content["pairs"], rows, large, len(numbers))
    left_out = _left_out(data, rows, len(pictured), thumbnails, len(content["pairs"]))
    page = _render(data, grouped, content, thumbnails, left_out)
    head, tail = page.split(THUMBNAILS_GO_HERE)
    every = [*thumbnails.base64_by_row.values(), *large.base64_by_row.values()]
    pictures = json.dumps(every, separators=(",", ":"))
    written = encoded(head + pictures + tail)
    write_page(path, written)
    return {
        "bytes": len(written),
        "images": len(rows),
        "thumbnails": len(numbers),
        "thumbnail_px": thumbnails.side_px,
        "unreadable_thumbnails": len(thumbnails.unreadable),
        "left_out": left_out,
    }


def _pictured(
    pairs: Sequence[dict[str, Any]], rows: np.ndarray, large: Thumbnails, first: int
) -> list[dict[str, Any]]:
    """The pairs with the numbers of their pictures; those without two are left out."""
    numbers = {row: first + number for number, row in enumerate(large.base64_by_row)}
    found = []
    for pair in pairs:
        shown = [numbers.get(int(rows[pair[side]])) for side in ("a", "b")]
        if None not in shown:
            found.append({**pair, "pictures": shown})
    return found


def _render(
    data: ReportData,
    grouped: pd.DataFrame,
    content: dict[str, Any],
    thumbnails: Thumbnails,
    left_out: list[str],
) -> str:
    import plotly.offline

    failures = pd.DataFrame(columns=FAILURE_COLUMNS) if data.failures is None else data.failures
    shown = failures.head(MAX_FAILURES)
    return render(
        "report.html",
        filters={
            "figure": _figure,
            "score": _score,
            "percent": _percent,
            "criterion": _criterion,
        },
        data=data,
        figures=_figures(data, grouped),
        curves=list(zip(data.tuning, content["tuning"], strict=True)),
        has_map=bool(content["maps"]),
        has_similarities=any(one["similarities"] for one in content["maps"]),
        # Plotly writes programs for WebGL as text; nothing else on the page needs that to be allowed.
        evaluates=any(len(one["rows"]) > WEBGL_ABOVE for one in content["maps"]),
        failures=[
            {name: _short(str(row[name])) for name in FAILURE_COLUMNS}
            for row in shown.to_dict("records")
        ],
        failures_total=len(failures),
        scores=_score_table(data),
        thumbnails=thumbnails,
        left_out=left_out,
        pairs=content["pairs"],
        plotly=Markup(plotly.offline.get_plotlyjs()),  # noqa: S704 the installed package's file
        content=json_for_script({**content, "mime": MIME, "webglAbove": WEBGL_ABOVE}),
        thumbnails_go_here=Markup(THUMBNAILS_GO_HERE),  # noqa: S704 our own words
    )


def _figures(data: ReportData, grouped: pd.DataFrame) -> dict[str, int]:
    """The figures of the opening sentence."""
    single = grouped["single"].to_numpy(bool)
    return {
        "images": len(grouped),
        "species": int(data.annotations["species"].nunique()),
        "clusters": int(grouped["group"][~single].nunique()),
        "clustered": int((~single).sum()),
        "single": int(single.sum()),
        "failures": 0 if data.failures is None else len(data.failures),
    }


def _score_table(data: ReportData) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Names of the scores, and for each species its values in that order."""
    names = list(dict.fromkeys(name for scores in data.scores.values() for name in scores))
    return names, [
        (species, [scores.get(name) for name in names]) for species, scores in data.scores.items()
    ]


def _left_out(
    data: ReportData, rows: np.ndarray, pictured: int, thumbnails: Thumbnails, pairs: int
) -> list[str]:
    left_out = []
    total = len(data.annotations)
    if len(rows) < total:
        left_out.append(
            f"{total - len(rows):,} of {total:,} images: a few of every cluster come first, the "
            f"largest clusters before the others. The tables hold all of them."
        )
    without = len(rows) - pictured + thumbnails.no_room if data.thumbnail else 0
    if without:
        left_out.append(
            f"The thumbnails of {without:,} of {len(rows):,} images, to keep this page small. "
            f"A few images of every cluster come first, then those that stand alone."
        )
    if data.thumbnail is None and total:
        left_out.append("Thumbnails: the run gave none to this page.")
    if thumbnails.unreadable:
        reason = _short(next(iter(thumbnails.unreadable.values())))
        left_out.append(
            f"The thumbnails of {len(thumbnails.unreadable):,} images that could not be read again "
            f"(the first: {reason})."
        )
    lost = len(data.pairs) - pairs
    if lost:
        left_out.append(f"{lost:,} of {len(data.pairs):,} pairs, which have no room or no picture.")
    if data.embeddings is None and total:
        left_out.append("The map: the run gave no embeddings to this page.")
    left_out += tsne_left_out(data, rows)
    if data.failures is not None and len(data.failures) > MAX_FAILURES:
        left_out.append(
            f"{len(data.failures) - MAX_FAILURES:,} of {len(data.failures):,} failures: the table "
            f"of failures holds all of them."
        )
    return left_out


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _figure(value: float | str) -> str:
    """1234 → 1,234; 0.87654 → 0.877; text as it is."""
    if isinstance(value, str):
        return value
    number = float(value)
    return f"{int(number):,}" if number.is_integer() else f"{number:,.3f}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(share: float) -> str:
    """Where a score lies on a line from 0 to 100; below chance counts as 0."""
    return f"{100 * min(max(share, 0.0), 1.0):.1f}"


def _criterion(name: str | None) -> str:
    """The name of a score as the reader knows it."""
    return {"ari": "ARI", "ami": "AMI", "pairwise_f1": "pairwise F1", None: "score"}.get(
        name, name or ""
    )
