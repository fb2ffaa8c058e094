"""What object storage says of files: size and time of change, by which a replaced object is noticed."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import store
from reid.errors import InputError
from reid.sources import places

LISTED_FROM = 64  # files named in one folder: to list it takes fewer requests than to ask for each
State = tuple[int, int]  # size in bytes, ns since 1970


def look_at_objects(
    whole: pa.Array, known: Mapping[str, State]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ask object storage about n files, as few times as can be.

    Args:
        whole: (n,) URIs; null for what is not asked.
        known: URI → state, of what was listed already.

    Returns:
        (n,) sizes and (n,) times of change; −1 for what is not asked, is not there, or lies on storage that
        nobody knows: that is a failure of its rows when they are read.

    Raises:
        StorageError: it cannot be reached.
    """
    encoded = whole.dictionary_encode()
    named = encoded.dictionary.to_pylist()
    folders: dict[str, list[str]] = {}
    for uri in named:
        if uri not in known:
            folders.setdefault(places.parent(uri), []).append(uri)
    states = dict(known)
    single: dict[str, list[str]] = {}  # bucket → keys
    for folder, files in folders.items():
        if len(files) >= LISTED_FROM:
            states |= _or_none(partial(store.list_states, folder))
            continue
        for uri in files:
            bucket = "/".join(uri.split("/", 3)[:3])
            single.setdefault(bucket, []).append(uri[len(bucket) + 1 :])
    for bucket, keys in single.items():
        states |= _or_none(partial(store.states_of, bucket, keys))
    found = np.asarray([*(states.get(uri, (-1, -1)) for uri in named), (-1, -1)], np.int64)
    rows = pc.fill_null(encoded.indices, len(named)).to_numpy()
    return found[rows, 0], found[rows, 1]


def _or_none(ask: Callable[[], dict[str, State]]) -> dict[str, State]:
    try:
        return ask()
    except InputError:
        return {}
