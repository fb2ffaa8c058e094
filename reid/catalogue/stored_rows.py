"""The rows of one version of a catalogue as a run asks for them: those that it may be about, and no more."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.catalogue.kept_rows import places_of
from reid.catalogue.known_rows import KnownRows, read_known
from reid.catalogue.recognition import whole_paths
from reid.catalogue.rules import read_rules
from reid.catalogue.state import Catalogue
from reid.row_order import by_id

# The numbers, rising, of rows that have one of some values in a column; and these rows.
_Find = Callable[[str, pa.Array], NDArray[np.int64]]
_Take = Callable[[NDArray[np.int64]], pa.Table]


class StoredRows:
    """The rows of a version, as stored, each read once.

    Of large species what is kept is asked (`reid.catalogue.known_rows`); all others are read from C/annotations,
    at once.

    Attributes:
        catalogue: the version.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        """Look at what is kept.

        Args:
            catalogue: an open one.

        Raises:
            DamagedError: it was damaged.
            StorageError: storage cannot be read.
        """
        self.catalogue = catalogue
        self._known = read_known(catalogue, read_rules(catalogue))
        self._others: pa.Table | None = None

    def known(self, species: str) -> KnownRows | None:
        """What is kept of a species; None: nothing."""
        return self._known.get(species)

    def of(self, species: str) -> pa.Table:
        """schema.CATALOGUE, all rows of a species, sorted by annotation_id.

        Raises:
            DamagedError: they are not the rows that were committed.
            StorageError: storage cannot be read.
        """
        if species in self._known:
            return self.catalogue.rows(species=[species], stored=True)
        rows = self._of_others()
        own = pc.equal(rows["species"], species)
        return rows if pc.all(own).as_py() else rows.filter(own)

    def count(self, species: str) -> int:
        """How many rows a species has."""
        known = self._known.get(species)
        return len(self.of(species)) if known is None else len(known.rows)

    def __len__(self) -> int:
        """How many rows there are, of all species."""
        return len(self._of_others()) + sum(len(one.rows) for one in self._known.values())

    def about(self, annotations: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
        """schema.CATALOGUE, the rows that have one of these ids, or lie in one of the images.

        A row that is found by its id may have another path than the upload says; all rows of its image are found.

        Args:
            annotations: columns annotation_id, root and image_path.
            ids: others.

        Raises:
            DamagedError, StorageError: as in `of`.
        """
        named = pc.unique(
            pa.chunked_array([*annotations["annotation_id"].chunks, *ids.chunks], pa.string())
        )
        rows = self._of_others()
        # Where it is looked for: how, how numbers become rows, and below which roots
        places: list[tuple[_Find, _Take, pa.Array]] = [
            (
                lambda name, values: places_of(rows[name], values),
                lambda numbers: rows.take(pa.array(numbers)),
                pc.unique(rows["root"]),
            )
        ]
        places += [
            (one.rows.find, one.rows.take, one.rows.distinct("root"))
            for one in self._known.values()
        ]
        by_name = [find("annotation_id", named) for find, _, _ in places]
        # Boxes of one image may be of several species.
        images = [
            take(numbers)["image_path"]
            for (_, take, _), numbers in zip(places, by_name, strict=True)
        ]
        shown = [chunk for one in images for chunk in one.chunks]
        found = []
        for (find, take, roots), numbers in zip(places, by_name, strict=True):
            paths = pa.chunked_array([_paths(annotations, roots), *shown], pa.string())
            found.append(take(np.union1d(numbers, find("image_path", pc.unique(paths)))))
        return by_id(pa.concat_tables(found))[0]

    def _of_others(self) -> pa.Table:
        if self._others is None:
            seal, others = self.catalogue.seal, None
            if self._known:
                assert seal is not None
                # Not those with counters: other tools may have added some.
                others = sorted({*seal.species} - {*self._known})
            self._others = self.catalogue.rows(species=others, stored=True)
        return self._others


def _paths(annotations: pa.Table, roots: pa.Array) -> pa.Array:
    """What image_path can be of rows with one of these roots that show the images of an upload."""
    whole = whole_paths(annotations)
    parts = [*annotations["image_path"].chunks, *whole.chunks]
    above = _folders_above(whole)
    for root in roots.to_pylist():
        start = root.rstrip("/") + "/"
        if start in above:  # of a catalogue of many cards few are
            below = whole.filter(pc.starts_with(whole, start))
            parts += pc.utf8_slice_codeunits(below, len(start)).chunks
    return pc.unique(pa.chunked_array(parts, pa.string()))


def _folders_above(paths: pa.ChunkedArray) -> set[str]:
    """All that these paths begin with and that ends with a slash."""
    folders = pc.unique(pc.replace_substring_regex(paths, "/[^/]*$", "/")).to_pylist()
    ends = ((one, at) for one in folders for at, letter in enumerate(one, 1) if letter == "/")
    return {one[:at] for one, at in ends}
