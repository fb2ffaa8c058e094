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
        found = [
            _about(
                lambda name, values: places_of(rows[name], values),
                lambda places: rows.take(pa.array(places)),
                named,
                _paths(annotations, pc.unique(rows["root"])),
            )
        ]
        for one in self._known.values():
            kept = one.rows
            paths = _paths(annotations, kept.distinct("root"))
            found.append(_about(kept.find, kept.take, named, paths))
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


def _about(
    find: Callable[[str, pa.Array], NDArray[np.int64]],
    take: Callable[[NDArray[np.int64]], pa.Table],
    ids: pa.Array,
    paths: pa.Array,
) -> pa.Table:
    """The rows that have one of these ids, or lie in an image of one of these paths or of one of the ids.

    Args:
        find: the numbers of the rows that have one of some values in a column.
        take: these rows.
        ids: some.
        paths: some.
    """
    named, shown = find("annotation_id", ids), find("image_path", paths)
    elsewhere = np.setdiff1d(named, shown)
    if len(elsewhere):  # most nights bring the paths by which their rows are known
        more = find("image_path", pc.unique(take(elsewhere)["image_path"]))
        shown = np.union1d(shown, more)
    return take(np.union1d(named, shown))


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
