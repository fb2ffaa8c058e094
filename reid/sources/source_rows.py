"""What one source gives, before all sources are joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# The columns of schema.ANNOTATIONS that a source may give, beside the path and the boxes.
TEXTS = (
    "annotation_id", "image_id", "species", "identity", "encounter_id", "viewpoint", "location_id",
    "split",
)  # fmt: skip
TIMES = ("timestamp", "utc_offset_minutes")


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
        weights: (n,) float64: the species are a machine's, and so sure is it of the box; None: they
            are given.
        folders: the images' folders tell their places, where no column does.
        given: labels that this source has a column for.
        states: of files on object storage that were listed, whole path → size and time of change.
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
    weights: NDArray[np.float64] | None = None
    folders: bool = False
    given: frozenset[str] = frozenset()
    states: Mapping[str, tuple[int, int]] = field(default_factory=dict)
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
        detections: a detector's results, for the images of folders; None: whole images.
        detection_threshold: least confidence of a box; None: as the results' version wants it.
        animal_categories: kinds of detections that are animals.
        trust_individual_ids: individualID of a Camtrap DP package is an individual, whatever the
            package says of itself.
        location_level: depth below the root of the folder that is the place; None: all folders
            together, without those that cameras make.
        location_pattern: a regular expression whose one group is the place; None: by folders.
        time_format: of times in file names, as strptime writes it; None: names tell none.
        encounter_gap_seconds: images of one place and species are one encounter up to this pause,
            where the source has no encounters.
        flank_sensitive: species whose sides differ; `all` for every one.
        max_file_megabytes: a larger image is a failure, never read.
        max_table_megabytes: a larger table or JSON is an error.
        as_folder: a folder that is a package of another program is a folder of images.
    """

    root: str | None = None
    species: str | None = None
    identity_from_parent: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    date_order: str | None = None
    keep_words: tuple[str, ...] = ()
    detections: str | None = None
    detection_threshold: float | None = None
    animal_categories: tuple[str, ...] = ("animal",)
    trust_individual_ids: bool = False
    as_folder: bool = False
    location_level: int | None = None
    location_pattern: str | None = None
    time_format: str | None = None
    encounter_gap_seconds: float = 60.0
    flank_sensitive: tuple[str, ...] = ()
    max_file_megabytes: float = 1000.0
    max_table_megabytes: float = 4000.0

    @property
    def places_by_folder(self) -> bool:
        """Are the folders of an image its place, as far as cameras have not made them?"""
        return not (self.location_level or self.location_pattern or self.identity_from_parent)
