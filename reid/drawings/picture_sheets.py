"""Pictures side by side: individuals, pairs that say how good the answer is, and what patch tokens see."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
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
COLOURS_SHARE = 0.65  # of a picture's pixels, the rest is the picture below


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


class TokenPicture(NamedTuple):
    """One image: its row, (g, g, 3) uint8 colours and (g, g) weights in 0..1 of its patches."""

    row: int
    colours: NDArray[np.uint8]
    weights: NDArray[np.float32]


def token_sheet(shown: Sequence[TokenPicture], picture: Picture, caption: str) -> "Drawing":
    """Images with their patch tokens: as they are, the first three components over them, the foreground alone.

    Args:
        shown: two images a line.
        picture: as of this module.
        caption: in the first line.
    """
    lines = -(-len(shown) // 2)
    figure, axes = drawing(6 * CELL_INCHES, 0.8 * CELL_INCHES * lines + 0.2, rows=lines, columns=6)
    grid = np.asarray(axes).reshape(lines * 2, 3)
    for i, places in enumerate(grid):
        one = picture(shown[i].row) if i < len(shown) else None
        views: tuple[Image.Image | None, ...] = (None, None, None)
        if one is not None:
            one = one.convert("RGB")
            colours = Image.fromarray(shown[i].colours).resize(one.size, Image.Resampling.NEAREST)
            alone = Image.fromarray(np.uint8(255 * shown[i].weights))
            alone = alone.resize(one.size, Image.Resampling.NEAREST)
            white = Image.new("RGB", one.size, "white")
            views = (
                one,
                Image.blend(one, colours, COLOURS_SHARE),
                Image.composite(one, white, alone),
            )
        for place, view in zip(places, views, strict=True):
            _show(place, view, missing=i < len(shown))
    figure.suptitle(caption, x=0.01, ha="left", fontsize=6)
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
