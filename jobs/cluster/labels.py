"""Identities from a table of labels, instead of those that came with the images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from jobs.cluster.groups import Group
from jobs.common.console import say
from reid import schema
from reid.config import Sources
from reid.errors import InputError
from reid.sources.columns import in_words, match_columns
from reid.sources.opened_tables import open_table
from reid.sources.places import one_spelling
from reid.sources.table_files import agreeing, joined_paths, read_times
from reid.sources.words import (
    Words,
    clean_labels,
    drop_filler_zeros,
    join_spellings,
    word_notes,
)

KEYS = ("annotation_id", "image_path", "image_id")  # the first that the table has says which image
LABELS = ("identity", "encounter_id", "timestamp")


def relabel(
    groups: Sequence[Group], path: str, sources: Sources | None = None
) -> tuple[list[Group], list[str]]:
    """Give the groups the labels of a table: an image that it does not name is unlabelled.

    Args:
        groups: of `read_groups` or `read_embedding_file`.
        path: `.csv` or `.parquet` with a column `identity`, and `annotation_id`, `image_path`
            (or `path`) or `image_id`, whose label all boxes of the image get; with none of these,
            one row an annotation in the embeddings' order. Columns `encounter_id` and `timestamp`
            replace those of the images.
        sources: how its columns, dates and words are read.

    Returns:
        The groups, and notes for the reader on what fits; how the table was read is said at once.

    Raises:
        InputError: the table cannot be read, lacks columns, names an image twice, or names none.
    """
    root = next((row.as_py() for group in groups for row in group.rows["root"][:1]), "")
    table, new_notes = _read(path, sources or Sources(), root)
    for note in new_notes:
        say(f"note: {note}")
    key = next((name for name in KEYS if name in table.columns), None)
    if key is None:
        return [_in_order(groups, table, path)], []
    named = _one_row_an_image(table, key, path)
    found = [named.reindex(group.rows[key].to_pylist()) for group in groups]
    notes = _notes_on_fit(groups, named, path)
    return [_with_labels(group, one) for group, one in zip(groups, found, strict=True)], notes


def _in_order(groups: Sequence[Group], table: pd.DataFrame, path: str) -> Group:
    """The one group, labelled row by row."""
    total = sum(len(group.rows) for group in groups)
    if len(table) != total or len(groups) > 1:
        raise InputError(
            f"--labels {path}: {len(table):,} rows for {total:,} images of {len(groups)} species, and no "
            f"column that says which row is which image; add one of {', '.join(KEYS)}"
        )
    return _with_labels(groups[0], table)


def _one_row_an_image(table: pd.DataFrame, key: str, path: str) -> pd.DataFrame:
    """The rows that name an image, by its name."""
    named = table[table[key].notna()]
    if not len(named):
        raise InputError(
            f"--labels {path}: none of its {len(table):,} rows names an image: {key} is empty in all of them"
        )
    repeated = named[key][named[key].duplicated()]
    if len(repeated):
        raise InputError(
            f"--labels {path}: {len(repeated):,} rows name an image again, for example {key} "
            f"{repeated.iloc[0]!r}; give one row an image"
        )
    return named.set_index(key)


def _notes_on_fit(groups: Sequence[Group], named: pd.DataFrame, path: str) -> list[str]:
    """Rows without image, images without row, and images of several boxes."""
    key = str(named.index.name)
    keys = pd.Series([value for group in groups for value in group.rows[key].to_pylist()])
    total = len(keys)
    matched = keys[keys.isin(named.index)]
    used = len(matched)
    if not used:
        here = next(iter(keys), None)
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
    return notes


def _read(path: str, sources: Sources, root: str) -> tuple[pd.DataFrame, list[str]]:
    """The columns KEYS and LABELS that the table has, by the rules of every reader; and notes."""
    table = open_table(path, flag="--labels")
    try:
        matched = match_columns(
            table.header, mapping=sources.columns, agree=lambda at: agreeing(table, at)
        )
        if "identity" not in matched.fields:
            raise InputError(f"no column `identity`; found: {', '.join(table.header) or 'none'}")
        if not len(table.lines):
            raise InputError("the table has no rows")
        found = Words()
        columns: dict[str, pa.Array] = {}
        notes = [f"{path}: {note}" for note in table.notes]
        notes += [f"{path}: line {line} is left out: {why}" for line, why, _ in table.broken]
        notes.append(f"{path}: {in_words(table.header, matched)}")
        for name in (*KEYS, *LABELS):
            if name not in matched.fields:
                continue
            at = matched.fields[name]
            if name == "image_path":
                columns[name] = one_spelling(joined_paths(table, at), root)
            elif name == "timestamp":
                times, new_notes = read_times(table, at, sources.date_order)
                columns[name] = times.timestamp
                notes += [f"{path}: {note}" for note in new_notes]
            else:
                columns[name] = clean_labels(
                    table.header[at[0]], table.texts(at[0]), found, keep_words=sources.keep_words
                )
        if "encounter_id" in columns and "0" not in sources.keep_words:
            columns["encounter_id"], found.zeros = drop_filler_zeros(columns["encounter_id"], None)
    except InputError as error:
        raise InputError(f"--labels {path}: {error}") from error
    columns["identity"], _ = join_spellings(columns["identity"])
    frame = pd.DataFrame(
        {name: pd.Series(column.to_pylist(), dtype=object) for name, column in columns.items()}
    )
    return frame, notes + word_notes(path, found)


def _with_labels(group: Group, table: pd.DataFrame) -> Group:
    """The group with the label columns of a table that has a row for each of its own."""
    rows = group.rows
    for name in LABELS:
        if name not in table.columns:
            continue
        field = schema.ANNOTATIONS.field(name)
        values = [None if pd.isna(value) else value for value in table[name].tolist()]
        rows = rows.set_column(
            rows.schema.get_field_index(name), field, pa.array(values, field.type)
        )
    return replace(group, rows=rows)


def encounters(group: Group) -> np.ndarray:
    """(n,) encounter of each row, None where there is none."""
    return np.asarray(group.rows["encounter_id"].to_pylist(), dtype=object)


def timestamps(group: Group) -> np.ndarray:
    """(n,) datetime64 of each row, NaT where unknown."""
    return np.asarray(group.rows["timestamp"].to_pandas(), dtype="datetime64[us]")
