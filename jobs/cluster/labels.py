"""Identities from a table of labels, instead of those that came with the images."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from jobs.cluster.groups import Group
from reid import schema, store
from reid.errors import InputError
from reid.manifest import ALIASES, known_identity

KEYS = ("annotation_id", "image_path", "image_id")  # the first that the table has says which image
LABELS = ("identity", "encounter_id", "timestamp")


def relabel(groups: Sequence[Group], path: str) -> tuple[list[Group], list[str]]:
    """Give the groups the labels of a table: an image that it does not name is unlabelled.

    Args:
        groups: of `read_groups` or `read_embedding_file`.
        path: `.csv` or `.parquet` with a column `identity`, and `annotation_id`, `image_path`
            (or `path`) or `image_id`, whose label all boxes of the image get; with none of these,
            one row an annotation in the embeddings' order. Columns `encounter_id` and `timestamp` replace those of the images.

    Returns:
        The groups, and notes for the reader.

    Raises:
        InputError: the table cannot be read, lacks columns, names an image twice, or names none.
    """
    table = _read(path)
    key = next((name for name in KEYS if name in table.columns), None)
    total = sum(len(group.rows) for group in groups)
    if key is None:
        if len(table) != total or len(groups) > 1:
            raise InputError(
                f"--labels {path}: {len(table):,} rows for {total:,} images of {len(groups)} species, and no "
                f"column that says which row is which image; add one of {', '.join(KEYS)}"
            )
        return [_with_labels(groups[0], table)], []
    named = table[table[key].notna()]
    repeated = named[key][named[key].duplicated()]
    if len(repeated):
        raise InputError(
            f"--labels {path}: {len(repeated):,} rows name an image again, for example {key} "
            f"{repeated.iloc[0]!r}; give one row an image"
        )
    named = named.set_index(key)
    found = [named.reindex(group.rows[key].to_pylist()) for group in groups]
    keys = pd.Series([value for group in groups for value in group.rows[key].to_pylist()])
    matched = keys[keys.isin(named.index)]
    used = len(matched)
    if not used:
        here = next(iter(groups[0].rows[key].to_pylist()), None)
        raise InputError(
            f"--labels {path}: none of its {len(named):,} rows is one of the {total:,} images here: {key} is "
            f"{named.index[0]!r} there and {here!r} here"
        )
    notes = []
    if used < len(named):
        notes.append(
            f"{path}: {len(named) - used:,} of {len(named):,} rows name no image that is here"
        )
    if used < total:
        notes.append(
            f"{path}: {total - used:,} of {total:,} images are not in it, and so unlabelled"
        )
    several = int((matched.value_counts() > 1).sum())
    if several:
        notes.append(
            f"{path}: {several:,} images have several boxes, which all get the label of their image; "
            "with a column annotation_id each has its own"
        )
    return [_with_labels(group, one) for group, one in zip(groups, found, strict=True)], notes


def _read(path: str) -> pd.DataFrame:
    if not store.exists(path):
        raise InputError(f"--labels {path}: there is no such file")
    stream = io.BytesIO(store.read_bytes(path))
    try:
        if path.lower().endswith(".parquet"):
            table = pd.read_parquet(stream)
        else:
            table = pd.read_csv(stream, dtype=str, encoding="utf-8-sig")
    except (ValueError, pa.ArrowException) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"--labels {path}: cannot be read as a table: {error}") from error
    for given, known in ALIASES.items():
        if given in table.columns and known not in table.columns:
            table = table.rename(columns={given: known})
    if "identity" not in table.columns:
        raise InputError(
            f"--labels {path}: no column `identity`; found: {', '.join(map(str, table.columns)) or 'none'}"
        )
    if table.empty:
        raise InputError(f"--labels {path}: the table has no rows")
    for name in {*KEYS, "identity", "encounter_id"} & set(table.columns):
        table[name] = [None if pd.isna(value) else str(value) for value in table[name]]
    return table


def _with_labels(group: Group, table: pd.DataFrame) -> Group:
    """The group with the label columns of a table that has a row for each of its own."""
    rows = group.rows
    for name in LABELS:
        if name not in table.columns:
            continue
        values = table[name].tolist()
        if name == "timestamp":
            times = pd.to_datetime(pd.Series(values), format="mixed", errors="coerce", utc=True)
            column = pa.array(times.dt.tz_localize(None), pa.timestamp("us"), from_pandas=True)
        else:
            clean = known_identity if name == "identity" else (lambda value: value)
            column = pa.array(
                [None if pd.isna(value) else clean(value) for value in values], pa.string()
            )
        rows = rows.set_column(
            rows.schema.get_field_index(name), schema.ANNOTATIONS.field(name), column
        )
    return replace(group, rows=rows)


def encounters(group: Group) -> np.ndarray:
    """(n,) encounter of each row, None where there is none."""
    return np.asarray(group.rows["encounter_id"].to_pylist(), dtype=object)


def timestamps(group: Group) -> np.ndarray:
    """(n,) datetime64 of each row, NaT where unknown."""
    return np.asarray(group.rows["timestamp"].to_pandas(), dtype="datetime64[us]")
