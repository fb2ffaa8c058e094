"""The rows of one version of a catalogue as a run asks for them: those that it may be about, and no more."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
        found = {
            name: read_known(catalogue, name, rules)
            for name, rules in read_rules(catalogue).items()
        }
        self._known = {name: known for name, known in found.items() if known is not None}
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
        paths = _paths(annotations, rows["root"])
        found = [
            rows.filter(
                pc.or_(
                    pc.is_in(rows["annotation_id"], value_set=named),
                    pc.is_in(rows["image_path"], value_set=paths),
                )
            )
        ]
        for one in self._known.values():
            kept = one.rows
            paths = _paths(annotations, kept.column("root"))
            numbers = kept.find("annotation_id", named), kept.find("image_path", paths)
            found.append(kept.take(np.union1d(*numbers)))
        return by_id(pa.concat_tables(found))[0]

    def _of_others(self) -> pa.Table:
        if self._others is None:
            others = (
                None if not self._known else sorted({*self.catalogue.counters} - {*self._known})
            )
            self._others = self.catalogue.rows(species=others, stored=True)
        return self._others


def _paths(annotations: pa.Table, roots: pa.ChunkedArray) -> pa.Array:
    """What image_path can be of rows with one of these roots that show the images of an upload."""
    whole = whole_paths(annotations)
    parts = [*annotations["image_path"].chunks, *whole.chunks]
    for root in pc.unique(roots).to_pylist():
        start = root.rstrip("/") + "/"
        below = whole.filter(pc.starts_with(whole, start))
        parts += pc.utf8_slice_codeunits(below, len(start)).chunks
    return pc.unique(pa.chunked_array(parts, pa.string()))
