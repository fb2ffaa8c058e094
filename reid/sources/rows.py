"""What one source gives, before all sources are joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Texts; the other columns of schema.ANNOTATIONS are timestamp, utc_offset_minutes, and the boxes.
TEXTS = (
    "annotation_id", "image_id", "species", "identity", "encounter_id", "viewpoint", "location_id",
    "split",
)  # fmt: skip


@dataclass(frozen=True)
class Failed:
    """A row that cannot be used: where it stands, its image, and why."""

    line: int
    image_path: str
    error: str
    stage: str = "read"


@dataclass
class Rows:
    """The annotations of one source.

    Attributes:
        source: as the user named it.
        root: absolute folder or URI that the paths are relative to.
        image_path: (n,) strings.
        columns: any of TEXTS, `timestamp` and `utc_offset_minutes`, (n,) each.
        boxes: (n, 4) float64, NaN in rows of whole images; None: all are.
        relative: (n,) bool: the box is in shares of the image.
        lines: (n,) int64 line (or row) of each in its file; None for listings.
        given: labels that this source has a column for.
        failed: rows that cannot be used.
        notes: in plain words.
        counts: for summary.json.
    """

    source: str
    root: str
    image_path: pa.Array
    columns: dict[str, pa.Array] = field(default_factory=dict)
    boxes: NDArray[np.float64] | None = None
    relative: NDArray[np.bool_] | None = None
    lines: NDArray[np.int64] | None = None
    given: frozenset[str] = frozenset()
    failed: list[Failed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_path)


@dataclass(frozen=True)
class How:
    """How the user wants sources to be read.

    Attributes:
        root: folder that image paths are relative to; None: as each source says.
        species: of rows that name none.
        identity_from_parent: identities are the names of the images' folders.
        columns: our name → the column that gives it.
        date_order: `dmy`, `mdy` or `ymd` for dates such as 11/04/2021; None: the column proves it.
        keep_words: words that are names, though they look empty.
    """

    root: str | None = None
    species: str | None = None
    identity_from_parent: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    date_order: str | None = None
    keep_words: tuple[str, ...] = ()
