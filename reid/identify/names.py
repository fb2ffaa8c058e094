"""Names follow the largest overlap, and a name that was given once never comes back."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.errors import InputError

NONE = -1
MOST_NAME_BYTES = (
    200  # of a species in a folder's name, percent-encoded; file systems take 255 in all
)


def check_species(species: Iterable[str]) -> None:
    """Refuse species names that no catalogue can keep: they are in the names of its folders.

    Raises:
        InputError: with the first such name.
    """
    for name in species:
        controls = [character for character in name if unicodedata.category(character)[0] == "C"]
        if controls or not name.strip():
            what = (
                f"holds the character {controls[0]!r}, which cannot be seen"
                if controls
                else "is empty"
            )
            raise InputError(f"species: {name[:60]!r} {what}; correct the name")
        length = len(quote(name, safe=""))
        if length > MOST_NAME_BYTES:
            raise InputError(
                f"species: {name[:60]!r}… takes {length} bytes as the name of a folder, and a catalogue "
                f"takes up to {MOST_NAME_BYTES}; give a shorter name"
            )


def identity_name(species: str, number: int) -> str:
    """`lynx-0042`."""
    return f"{species}-{number:04d}"


def identity_number(species: str, name: str) -> int:
    """42 of `lynx-0042`.

    Raises:
        ValueError: not a name that `identity_name` gives to this species.
    """
    found = re.fullmatch(re.escape(species) + r"-(\d{4,})", name)
    if found is None:
        raise ValueError(f"identity_id: {name!r} is no name of species {species!r}")
    return int(found[1])


def identity_numbers(species: str, names: pa.StringArray) -> NDArray[np.int64]:
    """`identity_number` of many names."""
    if not len(names):
        return np.empty(0, np.int64)
    pattern = "^" + re.escape(species) + r"-\d{4,18}$"
    fitting = pc.match_substring_regex(names, pattern)
    if not pc.all(fitting).as_py():  # says which, and what is wrong with it
        return np.asarray([identity_number(species, name) for name in names.to_pylist()], np.int64)
    digits = pc.utf8_slice_codeunits(names, len(species) + 1)
    numbers: NDArray[np.int64] = digits.cast(pa.int64()).to_numpy()
    return numbers


def follow_names(
    before: NDArray[np.int64], component: NDArray[np.int64], next_number: int
) -> tuple[NDArray[np.int64], int]:
    """Give each component the number of an old identity, or one that was never used.

    Old numbers are assigned so that as many rows as possible keep theirs; among equal assignments
    the older numbers stay. Components that get none are numbered on, by their smallest row.

    Args:
        before: (n,) int64 identity of each row before, −1 for a new row.
        component: (n,) int64, 0 … c − 1, numbered by their smallest row.
        next_number: the first number that was never used.

    Returns:
        (n,) int64 identity of each row, and the next number after those given.
    """
    number = np.full(component.max(initial=-1) + 1, NONE, np.int64)
    old = before >= 0
    span = len(number) + 1
    keys, overlap = np.unique(before[old] * span + component[old], return_counts=True)
    identities, identity = np.unique(keys // span, return_inverse=True)
    place = keys % span
    # Where one identity meets one component and no other there is nothing to choose.
    single = (np.bincount(identity)[identity] == 1) & (np.bincount(place)[place] == 1)
    number[place[single]] = identities[identity[single]]
    kept = _assign(identity[~single], place[~single], overlap[~single])
    number[place[~single][kept]] = identities[identity[~single][kept]]
    fresh = np.flatnonzero(number == NONE)
    number[fresh] = next_number + np.arange(len(fresh))
    return number[component], next_number + len(fresh)


def _assign(
    identity: NDArray[np.int64], place: NDArray[np.int64], overlap: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Which of the overlaps are kept, so that their sum is largest; ties for older identities.

    What no overlap connects is assigned apart, so that it cannot matter what else there is.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    if not len(identity):
        return np.empty(0, np.int64)
    rows, columns = int(identity.max()) + 1, int(place.max()) + 1
    links = csr_array(
        (np.ones(len(identity)), (identity, rows + place)), shape=(rows + columns,) * 2
    )
    _, piece = connected_components(links, directed=False)
    order = np.argsort(piece[identity], kind="stable")
    cuts = np.flatnonzero(np.diff(piece[identity][order])) + 1
    kept = [
        part[_best(identity[part], place[part], overlap[part])] for part in np.split(order, cuts)
    ]
    return np.sort(np.concatenate(kept))


def _best(
    identity: NDArray[np.int64], place: NDArray[np.int64], overlap: NDArray[np.int64]
) -> NDArray[np.int64]:
    """As `_assign`, of what is connected."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if (
        place == place[0]
    ).all():  # they have become one: the largest, then the oldest, gives the name
        return np.lexsort((-identity, overlap))[-1:]
    _, row = np.unique(identity, return_inverse=True)
    _, column = np.unique(place, return_inverse=True)
    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    # One row more of overlap outweighs the age of all identities together. Every identity may also
    # stay without a component, in a column of its own. Whole numbers below 2^53: the sums are exact.
    age = rows - row
    weight = overlap * (rows * (rows + 1) // 2 + 1) + age + 1
    own = np.arange(rows)
    matrix = csr_array(
        (
            np.concatenate([weight, np.ones(rows, np.int64)]).astype(np.float64),
            (np.concatenate([row, own]), np.concatenate([column, columns + own])),
        ),
        shape=(rows, columns + rows),
    )
    chosen_rows, chosen_columns = min_weight_full_bipartite_matching(matrix, maximize=True)
    of_row = np.empty(rows, np.int64)
    of_row[chosen_rows] = chosen_columns
    return np.flatnonzero(of_row[row] == column)
