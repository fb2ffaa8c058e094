"""What stored patch tokens see in some pictures, for `reid figures`."""

from collections.abc import Callable

import pyarrow as pa
from PIL import Image

from jobs.cluster.groups import Group
from reid import drawings
from reid.config import Config
from reid.foreground import as_colours, patch_weights
from reid.layout import Window, window_box
from reid.pooled_tokens import foreground_of, token_scores


def windowed(
    picture: Callable[[int], Image.Image | None], window: Window | None, row: int
) -> Image.Image | None:
    """The part of a picture that was embedded."""
    whole = picture(row)
    if whole is None or window is None:
        return whole
    return whole.crop(window_box((0, 0, *whole.size), window))


def token_pictures(
    config: Config, group: Group, folder: str, rows: list[int]
) -> tuple[list[drawings.TokenPicture], str]:
    """What the patch tokens of some rows see, and a line on it."""
    ids = group.rows["annotation_id"].combine_chunks()
    axes = foreground_of(folder, group.species, ids).axes
    weights, threshold = config.embed.foreground_weights, config.embed.foreground_threshold
    shown = [
        drawings.TokenPicture(
            rows[number],
            as_colours(measured),
            patch_weights(measured[..., 0], weights=weights, threshold=threshold),
        )
        for number, measured in token_scores(folder, ids.take(pa.array(rows)), axes)
    ]
    said = ", ".join(f"{share:.0%}" for share in axes.shares)
    line = f"picture; components 1 to 3 as red, green, blue ({said} of the variance of {axes.images:,} images); foreground"
    return sorted(shown, key=lambda one: one.row), line
