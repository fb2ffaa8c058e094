"""`reid classify`: what a classifier says each picture shows, as far down the tree as it is sure."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.cluster.groups import Group, read_groups
from jobs.common import outputs
from jobs.common.console import print_result, say
from reid import store
from reid.config import Config
from reid.errors import InputError
from reid.exports.sheets import people_sheet
from reid.models import class_names
from reid.models.spec import CLASSES
from reid.taxonomy import RankedLabels, Taxonomy, label_by_rank, read_taxonomy, taxonomy_of_names

TAXA, TAXA_TEXT = "taxa.parquet", "taxa.csv"
OWN_COLUMNS = ("annotation_id", "image_path", "label", "rank", "probability")
AT_ONCE = 4_096  # rows whose probabilities are summed at once


def classify(config: Config, taxonomy: str | None, threshold: float) -> None:
    """Write taxa.parquet and taxa.csv of an output folder whose vectors are class probabilities.

    Args:
        config: the resolved configuration; its model is `classes:…`.
        taxonomy: file of where each class lies; None: the names of the model's classes say it.
        threshold: of `label_by_rank`.

    Raises:
        InputError: the taxonomy is missing or does not fit, or the threshold is out of range.
    """
    groups = read_groups(config.out)
    tree = _tree(config, taxonomy, groups[0].vectors.shape[1])
    if taken := [rank for rank in tree.ranks if rank in OWN_COLUMNS]:
        raise InputError(f"a rank cannot be called {taken[0]}: {TAXA} has a column of that name")
    tables = [_table(group, tree, threshold) for group in groups]
    found = pa.concat_tables(tables)
    store.write_table(store.join(config.out, TAXA), found)
    lines = zip(*map(_texts, found.columns), strict=True)
    store.write_text(store.join(config.out, TAXA_TEXT), people_sheet(found.column_names, lines))
    ranks = found["rank"].to_pylist()
    counts = [f"{ranks.count(rank):,} to {rank}" for rank in reversed(tree.ranks) if rank in ranks]
    unsure = ranks.count(None)
    say(
        f"classify: {len(ranks):,} pictures; sure (over {threshold:g}) down {', '.join(counts) or 'to no rank'}"
        + (f"; of {unsure:,} not even of the first" if unsure else "")
    )
    print_result(store.join(config.out, TAXA_TEXT))


def _texts(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if not pa.types.is_floating(column.type):
        return values
    return [None if value is None else f"{value:.4f}" for value in values]


def classifier(config: Config) -> str:
    """The one model that is asked, as `classes:…`.

    Raises:
        InputError: several models, or clusters in the output folder, which are of other vectors.
    """
    if len(config.embed.model) > 1 or config.embed.per_species:
        raise InputError("classify: one model for all species is needed (--model NAME)")
    if store.exists(store.join(config.out, outputs.CLUSTERS)):
        raise InputError(
            f"{config.out} holds clusters by the vectors of a model, which class probabilities would replace; "
            "give another --out"
        )
    (name,) = config.embed.model
    return name if name.startswith(CLASSES) else f"{CLASSES}{name}"


def _tree(config: Config, path: str | None, classes: int) -> Taxonomy:
    if path is not None:
        return read_taxonomy(path, classes)
    (name,) = config.embed.model
    names = class_names(name.removeprefix(CLASSES), revision=config.embed.revision)
    if names is not None and len(names) != classes:
        raise InputError(
            f"{name}: {len(names):,} label_names for {classes:,} classes; give --taxonomy"
        )
    tree = None if names is None else taxonomy_of_names(names)
    if tree is None:
        raise InputError(
            f"{name}: its config.json has no label_names that spell out ranks (Order;Family;Genus;species); give "
            f"--taxonomy FILE.csv with a row for each of its {classes:,} classes, for example with columns "
            "class_index,order,family,genus,species"
        )
    return tree


def _table(group: Group, tree: Taxonomy, threshold: float) -> pa.Table:
    parts = list(_in_parts(group.vectors, tree, threshold))
    depth = np.concatenate([part.depth for part in parts])
    names = np.concatenate([part.names for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts])
    sure, rows = depth >= 0, np.arange(len(depth))
    label = [one if known else None for one, known in zip(names[rows, depth], sure, strict=True)]
    columns: dict[str, Any] = {
        "annotation_id": group.rows["annotation_id"],
        "image_path": group.rows["image_path"],
        "label": label,
        "rank": [tree.ranks[at] if at >= 0 else None for at in depth],
        "probability": pa.array(probabilities[rows, depth], mask=~sure),
    }
    for place, rank in enumerate(tree.ranks):
        columns[rank] = pa.array(names[:, place].tolist(), pa.string())
        columns[f"{rank}_probability"] = probabilities[:, place]
    return pa.table(columns)


def _in_parts(vectors: np.ndarray, tree: Taxonomy, threshold: float) -> Iterator[RankedLabels]:
    for start in range(0, len(vectors), AT_ONCE):
        yield label_by_rank(np.square(vectors[start : start + AT_ONCE]), tree, threshold)
