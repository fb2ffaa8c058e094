"""The rows of all sources, one under the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid import store
from reid.sources.source_rows import Rows


@dataclass
class Stacked:
    """n rows as columns.

    Attributes:
        sources: where they come from.
        table: root, image_path, rows.TEXTS and rows.TIMES.
        boxes: (n, 4) float64, NaN for whole images.
        relative: (n,) bool.
        source: (n,) int64 number in `sources`.
        lines: (n,) int64 line in the file, 0 in listings.
        weights: (n,) float64 of a machine's species; NaN where it is given.
        whole: (n,) strings, the path from the root of the disk; null on object storage.
    """

    sources: Sequence[Rows]
    table: pa.Table
    boxes: NDArray[np.float64]
    relative: NDArray[np.bool_]
    source: NDArray[np.int64]
    lines: NDArray[np.int64]
    weights: NDArray[np.float64]
    whole: pa.Array

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> pa.Array:
        """A column in one piece."""
        column = self.table[name]
        if column.num_chunks == 1:
            return column.chunk(0)
        return column.combine_chunks()

    def set(self, name: str, column: pa.Array) -> None:
        """Replace a column."""
        at = self.table.schema.get_field_index(name)
        self.table = self.table.set_column(at, self.table.schema.field(name), column)

    def where(self, row: int) -> str:
        """A row's place, for a message."""
        line = f", line {self.lines[row]}" if self.lines[row] > 0 else ""
        return f"{self.sources[self.source[row]].source}{line}"

    def place(self, row: int) -> str:
        """Where a row's image lies."""
        whole = self.whole[row].as_py()
        if whole is not None:
            return str(whole)
        return store.join(self.table["root"][row].as_py(), self.table["image_path"][row].as_py())

    def take(self, rows: NDArray[np.int64]) -> "Stacked":
        """Some of them."""
        chosen = pa.array(rows)
        return Stacked(
            self.sources,
            self.table.take(chosen).combine_chunks(),
            self.boxes[rows],
            self.relative[rows],
            self.source[rows],
            self.lines[rows],
            self.weights[rows],
            self.whole.take(chosen),
        )
