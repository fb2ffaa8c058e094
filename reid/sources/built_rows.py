"""Rows built one by one, for formats that are trees and not tables."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid import store
from reid.sources import dates, words
from reid.sources.file_headers import read_headers
from reid.sources.finding import Found, find_images, folders_removed
from reid.sources.reading import LABELS
from reid.sources.source_rows import TEXTS, Failed, How, Rows
from reid.sources.stated_sizes import fit_boxes

WEB = "web"  # stage of images that lie behind web addresses, and so were never here
DOWNLOAD = "a web address: download the image first, or give --root"


@dataclass
class Records:
    """The annotations of one source while it is read.

    Attributes:
        source: as the user named it.
        root: absolute folder or URI that images are looked for in.
        left_out: why → how many, in words that follow a number.
    """

    source: str
    root: str
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    images: int = 0
    _paths: list[str] = field(default_factory=list)
    _boxes: list[tuple[float, ...]] = field(default_factory=list)
    _relative: list[bool] = field(default_factory=list)
    _columns: dict[str, list[str | None]] = field(default_factory=dict)
    _sizes: list[tuple[float, float] | None] = field(default_factory=list)
    _weights: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._paths)

    def add(
        self,
        path: str,
        box: Sequence[float] | None,
        relative: bool = True,
        *,
        weight: float | None = None,
        size: tuple[float, float] | None = None,
        **columns: str | None,
    ) -> None:
        """One animal.

        Args:
            path: of the image, as the source has it.
            box: x, y, width, height; None: the whole image.
            relative: the box is in shares of the image, not in pixels.
            weight: how sure a machine is that named the species; None: it is given.
            size: width and height of the picture that a box in pixels is of, where the source states them.
            columns: of `source_rows.TEXTS` or `timestamp`, as text.
        """
        self._weights.append(math.nan if weight is None else weight)
        for name in columns:
            self._columns.setdefault(name, [None] * len(self))
        self._paths.append(path)
        self._boxes.append((math.nan,) * 4 if box is None else tuple(box))
        self._relative.append(box is not None and relative)
        self._sizes.append(None if relative or box is None else size)
        for name, values in self._columns.items():
            values.append(columns.get(name))

    def fail(self, path: str, error: str, stage: str = "read") -> None:
        """An image that gives no annotation, and why."""
        self.failed.append(Failed(0, path, f"{self.source}: {error}", stage))

    def rows(self, how: How, *, described: str) -> Rows:
        """What was added, with its images found below the root.

        Args:
            how: what the user said.
            described: begins the closing line, in words.

        Raises:
            InputError: no image is there; or a date cannot be understood.
        """
        found = find_images(self.source, self._paths, self.root) if self._paths else Found({})
        self._fail_missing(found)
        boxes = np.asarray(self._boxes, np.float64).reshape(-1, 4)
        bad = self._fit_boxes(boxes, found)
        keep = np.asarray([path in found.places for path in self._paths], bool)
        keep[list(bad)] = False
        given = [path for path, kept in zip(self._paths, keep.tolist(), strict=True) if kept]
        words_found = words.Words()
        columns = self._read_columns(how, keep, words_found)
        labels = frozenset(name for name in LABELS if name in columns)
        if "location_id" not in columns and how.places_by_folder:
            named = folders_removed(given, found.places)
            if any(named):
                columns["location_id"] = pa.array(named, pa.string())
        return Rows(
            self.source,
            self.root,
            pa.array([found.places[path] for path in given], pa.string()),
            columns,
            boxes[keep],
            np.asarray(self._relative, bool)[keep],
            lines=np.zeros(len(given), np.int64),
            weights=np.asarray(self._weights, np.float64)[keep],
            folders="location_id" not in labels,
            given=labels,
            failed=list(self.failed),
            notes=[
                self._closing(described),
                *self.notes,
                *found.notes,
                *words.word_notes(self.source, words_found),
            ],
            counts={"images": self.images, "rows": len(given), "unreadable": len(self.failed)}
            | dict(self.left_out),
        )

    def _fail_missing(self, found: Found) -> None:
        web = [path for path in found.missing if _is_address(path)]
        for path in found.missing:
            stage, why = (WEB, DOWNLOAD) if _is_address(path) else ("find", "no such file")
            self.fail(path, f"{why} (looked below {self.root})", stage)
        if web:
            why = "images behind web addresses (download them first, or give --root)"
            self.left_out[why] = len(web)

    def _fit_boxes(self, boxes: NDArray[np.float64], found: Found) -> dict[int, str]:
        """Boxes of pictures of a stated size become those of the pictures that are there, in place."""
        if not any(self._sizes):
            return {}
        files = [
            store.join(self.root, found.places.get(path, path)) if size else ""
            for path, size in zip(self._paths, self._sizes, strict=True)
        ]
        headers = read_headers([file for file in dict.fromkeys(files) if file])
        boxes[:], bad, done = fit_boxes(boxes, self._sizes, [headers.get(file) for file in files])
        for row, why in bad.items():
            self.fail(self._paths[row], why)
        self.notes += [f"{self.source}: {count:,} boxes are {what}" for what, count in done.items()]
        return bad

    def _read_columns(
        self, how: How, keep: NDArray[np.bool_], words_found: words.Words
    ) -> dict[str, pa.Array]:
        """Labels and times of the rows that stay."""
        columns = {}
        for name, values in self._columns.items():
            if not any(values):
                continue  # this source does not tell it
            column = pa.array(values, pa.string()).filter(pa.array(keep))
            if name in TEXTS:
                columns[name] = words.clean_labels(
                    name, column, words_found, keep_words=how.keep_words
                )
            elif name == "timestamp":
                times = dates.read_dates(column, order=how.date_order)  # type: ignore[arg-type]
                columns["timestamp"], columns["utc_offset_minutes"] = times.timestamp, times.offset
                new_notes = dates.date_notes(times, "time")
                self.notes += [f"{self.source}: {note}" for note in new_notes]
        return columns

    def _closing(self, described: str) -> str:
        """The closing line: what was read, left out and why."""
        parts = [f"{count:,} {why}" for why, count in self.left_out.items()]
        stages = Counter(one.stage for one in self.failed if one.stage != WEB)
        if stages:
            parts.append(f"{stages.total():,} failures ({in_stages(stages)})")
        return (
            f"{self.source}: {'; '.join([described, ', '.join(parts)] if parts else [described])}"
        )


def in_stages(stages: Counter[str]) -> str:
    """Where images failed, in words that follow a number."""
    return ", ".join(f"{count:,} {_STAGES.get(name, name)}" for name, count in stages.items())


_STAGES = {"detect": "of the detector", "find": "not found", "read": "not understood"}


def _is_address(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def text_of(value: object) -> str | None:
    """A label from JSON: text, or a number in its plain form; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def number_of(value: object) -> float | None:
    """A finite number from JSON, or None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def box_of(value: object) -> tuple[float, float, float, float] | None:
    """Four finite numbers from JSON, or None."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    x, y, w, h = (number_of(one) for one in value)
    if x is None or y is None or w is None or h is None or max(map(abs, (x, y, w, h))) > 1e7:
        return None
    return x, y, w, h


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The objects of a JSON list; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object; an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def scientific_name(label: str) -> str | None:
    """`uuid;class;order;family;genus;species;common` to `Genus species`, or the deepest rank it has.

    None for what is no animal species: blank, human, vehicle, no cv result.
    """
    parts = [part.strip() for part in label.split(";")]
    if len(parts) != 7:
        return None if label.strip().lower() in NO_SPECIES else label.strip() or None
    if parts[6].lower() in NO_SPECIES or parts[4:6] == ["homo", "sapiens"]:
        return None
    genus, species = parts[4], parts[5]
    if genus and species:
        return f"{genus.capitalize()} {species}"
    deepest = next((rank for rank in (genus, *parts[3:0:-1]) if rank), "")
    return deepest.capitalize() or None


NO_SPECIES = frozenset(
    {"blank", "empty", "human", "person", "vehicle", "no cv result", "animal", "unknown"}
)
