"""Other ids of annotations: what an upload called what the catalogue has under an id of its own.

    C/aliases/<digest>.parquet     annotation_id, known_as: an alias, and whom it stands for

An alias is a fact about two ids, so it needs no commit; one whose annotation is no more is not used.
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from reid import store
from reid.value_digests import whole_digest

ALIASES = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("known_as", pa.string(), nullable=False),
    ]
)


def read_aliases(path: str) -> dict[str, str]:
    """Alias → id in the catalogue, of all uploads so far.

    Args:
        path: of the catalogue.
    """
    found: dict[str, str] = {}
    for table in store.iter_tables(store.list_files(_folder(path)), ALIASES.names):
        found |= dict(zip(*table.to_pydict().values(), strict=True))
    return found


def write_aliases(path: str, aliases: Mapping[str, str]) -> None:
    """Remember aliases that are not remembered yet."""
    before = read_aliases(path)
    fresh = sorted(pair for pair in aliases.items() if before.get(pair[0]) != pair[1])
    if fresh:
        table = pa.table([list(column) for column in zip(*fresh, strict=True)], schema=ALIASES)
        name = f"{whole_digest(table)}.parquet"
        store.write_table(store.join(_folder(path), name), table)


def with_known_ids(
    decisions: pa.Table, known: pa.Array | pa.ChunkedArray, aliases: Mapping[str, str]
) -> tuple[pa.Table, int]:
    """Decisions about aliases as decisions about the annotations that they stand for.

    Args:
        decisions: columns a_id and b_id.
        known: ids that stand for themselves.
        aliases: of `read_aliases`.

    Returns:
        The decisions, a_id < b_id; and how many were put in other words. A decision about an annotation
        and its own alias says nothing, and is left out.
    """
    ends = {name: decisions[name].to_pylist() for name in ("a_id", "b_id")}
    named = pa.array(sorted({*ends["a_id"], *ends["b_id"]}), pa.string())
    own = set(named.filter(pc.is_in(named, value_set=known)).to_pylist())

    def of(name: str) -> str:
        return name if name in own else aliases.get(name, name)

    rows = []
    changed = 0
    for row in decisions.to_pylist():
        a, b = sorted((of(row["a_id"]), of(row["b_id"])))
        changed += {a, b} != {row["a_id"], row["b_id"]}
        if a != b or row["a_id"] == row["b_id"]:
            rows.append({**row, "a_id": a, "b_id": b})
    return pa.Table.from_pylist(rows, schema=decisions.schema), changed


def _folder(path: str) -> str:
    return store.join(path, "aliases")
