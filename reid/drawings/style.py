"""The look of all figures, and how one becomes a file."""

import io
from typing import TYPE_CHECKING, Any

from reid.errors import InputError
from reid.optional import matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing
    from matplotlib.legend import Legend

FORMATS = ("png", "pdf", "svg")
COLUMN_INCHES = 3.4  # of a two-column page
DOTS_PER_INCH = 300
# Okabe & Ito 2008: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D1F", "#5D4A8A")
LONG_LABEL = 34  # letters: two such columns would be wider than a page's
GREY, RED, GREEN = "#9A9A9A", "#D55E00", "#009E73"
_STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # letters stay letters
    "svg.fonttype": "none",
    "svg.hashsalt": "reid",  # the same figure is the same file
}


def drawing(
    width: float = COLUMN_INCHES, height: float = 2.4, *, columns: int = 1, rows: int = 1
) -> tuple["Drawing", Any]:
    """An empty figure of so many inches, and its axes: one, or an array of rows × columns.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    package = matplotlib()
    with package.rc_context(_STYLE):
        figure = package.figure.Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns)


def legend(figure: "Drawing") -> "Legend":
    """The legend of all axes, below them: nothing that is drawn is hidden by it."""
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    handles = [handle for some, _ in found for handle in some]
    names = [name for _, some in found for name in some]
    long = max(map(len, names)) > LONG_LABEL or len(names) < 4
    return figure.legend(
        handles, names, loc="outside lower left", ncols=1 if long else 2, fontsize=7, frameon=False,
        handlelength=1.4, labelspacing=0.3, borderaxespad=0.2,
    )  # fmt: skip


def encode(figure: "Drawing", kind: str) -> bytes:
    """The figure as a file.

    Args:
        figure: of this package.
        kind: one of FORMATS.

    Raises:
        InputError: an unknown format.
    """
    if kind not in FORMATS:
        raise InputError(f"--format {kind}: known: {', '.join(FORMATS)}")
    stream = io.BytesIO()
    # No date in it: the same figure is the same file.
    stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[kind]
    with matplotlib().rc_context(_STYLE):
        figure.savefig(stream, format=kind, dpi=DOTS_PER_INCH, metadata=stamp)
    return stream.getvalue()
