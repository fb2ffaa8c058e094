"""Tables that detectors and classifiers write (animl, DeepFaune): rows that show no animal."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.sources.columns import Matched, column_key
from reid.sources.opened_tables import Table

NO_ANIMAL = ("empty", "blank", "human", "person", "people", "vehicle", "none", "nothing")
# Numbers of MegaDetector, where a table has its categories and confidences.
CATEGORIES = {"0": "empty", "1": "animal", "2": "person", "3": "vehicle"}


def rows_without_animal(
    table: Table, matched: Matched, notes: list[str], source: str
) -> NDArray[np.bool_]:
    """(n,) rows in which a machine saw nothing, a person or a vehicle.

    Args:
        table: as in its file.
        matched: which column is read as what.
        notes: is told how many there are, and of what.
        source: for the note.
    """
    keys = [column_key(name) for name in table.header]
    kinds: list[pa.Array] = []
    at = matched.fields.get("species", (-1,))[0]
    if at >= 0 and keys[at] == "prediction":
        kinds.append(table.texts(at))
    if "category" in keys and "conf" in keys:
        kinds.append(table.texts(keys.index("category")))
    found = np.zeros(len(table.lines), bool)
    counted: Counter[str] = Counter()
    for column in kinds:
        words = pc.utf8_lower(pc.utf8_trim_whitespace(column)).dictionary_encode()
        codes = pc.fill_null(words.indices, -1).to_numpy()
        for code, word in enumerate(words.dictionary.to_pylist()):
            name = CATEGORIES.get(word, word)
            if name in NO_ANIMAL:
                here = (codes == code) & ~found
                counted[name] += int(here.sum())
                found |= here
    if found.any():
        kept = ", ".join(f"{count:,} {name}" for name, count in counted.items() if count)
        notes.append(f"{source}: {found.sum():,} rows show no animal and are left out: {kept}")
    return found
