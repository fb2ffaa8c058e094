"""Tables that detectors and classifiers write (animl, DeepFaune): rows that show no animal."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.sources.columns import Matched, column_key

NO_ANIMAL = ("empty", "blank", "human", "person", "people", "vehicle", "none", "nothing")
# Numbers of MegaDetector, where a table has its categories and confidences.
CATEGORIES = {"0": "empty", "1": "animal", "2": "person", "3": "vehicle"}


def rows_without_animal(
    header: Sequence[str],
    matched: Matched,
    texts: Callable[[int], pa.Array],
    notes: list[str],
    source: str,
) -> set[int]:
    """Rows in which a machine saw nothing, a person or a vehicle; a note counts them.

    Args:
        header: the columns' names.
        matched: which is read as what.
        texts: a column by its number, as strings.
        notes: is added to.
        source: for the note.
    """
    keys = [column_key(name) for name in header]
    kinds: list[pa.Array] = []
    at = matched.fields.get("species", (-1,))[0]
    if at >= 0 and keys[at] == "prediction":
        kinds.append(texts(at))
    if "category" in keys and "conf" in keys:
        kinds.append(texts(keys.index("category")))
    found: set[int] = set()
    counted: dict[str, int] = {}
    for column in kinds:
        words = pc.utf8_lower(pc.utf8_trim_whitespace(column)).dictionary_encode()
        named = [CATEGORIES.get(word, word) for word in words.dictionary.to_pylist()]
        codes = pc.fill_null(words.indices, -1).to_numpy()
        for code, name in enumerate(named):
            if name in NO_ANIMAL:
                rows = {int(row) for row in np.flatnonzero(codes == code)} - found
                if rows:
                    counted[name] = counted.get(name, 0) + len(rows)
                found |= rows
    if found:
        kept = ", ".join(f"{count:,} {name}" for name, count in counted.items())
        notes.append(f"{source}: {len(found):,} rows show no animal and are left out: {kept}")
    return found
