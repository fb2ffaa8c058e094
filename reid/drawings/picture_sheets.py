"""Pictures side by side: the images of individuals, and pairs that say how good the answer is."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from reid.drawings.style import GREEN, GREY, RED, drawing, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Picture = Callable[[int], Image.Image | None]  # row → its crop, None where it cannot be read

SIDE_PX = 256
CELL_INCHES = 0.85
FRAMES = (
    (True, GREEN, "one individual"),
    (False, RED, "two individuals"),
    (None, GREY, "not known"),
)


class Pair(NamedTuple):
    """Two rows, and what is said of them; `right` None where a label is missing."""

    a: int
    b: int
    caption: str
    right: bool | None


def contact_sheet(
    groups: Sequence[tuple[str, Sequence[int]]], picture: Picture, *, columns: int = 6
) -> "Drawing":
    """A row of pictures for each individual.

    Args:
        groups: its name, and rows of its images; as many as there are columns are shown.
        picture: as of this module.
        columns: pictures in a row.
    """
    figure, axes = drawing(
        CELL_INCHES * columns, (CELL_INCHES + 0.2) * len(groups), rows=len(groups), columns=columns
    )
    grid = np.asarray(axes).reshape(len(groups), columns)
    for line, (name, rows) in zip(grid, groups, strict=True):
        for i, place in enumerate(line):
            _show(place, picture(rows[i]) if i < len(rows) else None, missing=i < len(rows))
        line[0].set_title(f"{name} (n = {len(rows):,})", loc="left", fontsize=7)
    return figure


def pair_sheet(pairs: Sequence[Pair], picture: Picture, *, columns: int = 2) -> "Drawing":
    """Pairs of pictures, framed green where they show one individual, red where two, grey if unknown."""
    lines = -(-len(pairs) // columns)
    figure, axes = drawing(
        2 * CELL_INCHES * columns * 1.15,
        (CELL_INCHES + 0.3) * lines,
        rows=lines,
        columns=2 * columns,
    )
    grid = np.asarray(axes).reshape(lines * columns, 2)
    for i, (left, right) in enumerate(grid):
        if i >= len(pairs):
            left.set_axis_off()
            right.set_axis_off()
            continue
        pair = pairs[i]
        colour = next(colour for right, colour, _ in FRAMES if right is pair.right)
        for place, row in ((left, pair.a), (right, pair.b)):
            _show(place, picture(row), missing=True, frame=colour)
        left.set_title(pair.caption, loc="left", fontsize=6)
    kinds = [pair.right for pair in pairs]
    for right, colour, name in FRAMES:
        if right in kinds:
            n = kinds.count(right)
            label = f"{name} (n = {n:,} pair{'s' if n > 1 else ''})"
            grid[0, 0].plot([], [], color=colour, linewidth=2, label=label)
    legend(figure)
    return figure


def _show(place: "Axes", picture: Image.Image | None, *, missing: bool, frame: str = "") -> None:
    place.set(xticks=[], yticks=[], anchor="N")  # tops in line: a higher picture would hide a title
    for side in place.spines.values():
        side.set(visible=bool(frame), color=frame or "white", linewidth=1.5)
    if picture is not None:
        square = picture.convert("RGB")
        square.thumbnail((SIDE_PX, SIDE_PX))
        place.imshow(np.asarray(square), aspect="equal")
    elif missing:
        place.text(0.5, 0.5, "not readable", ha="center", va="center", fontsize=5)
