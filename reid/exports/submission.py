"""A competition's submission: the sample's own ids in the sample's order, with a cluster for each."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.errors import InputError
from reid.sources.named_images import Named, find_named
from reid.spelling import list_a_few

ID_COLUMNS = (
    "image_id",
    "id",
    "row_id",
    "annotation_id",
    "image",
    "image_path",
    "path",
    "filename",
)


class Submission(NamedTuple):
    """What is handed in.

    Attributes:
        table: (n, columns of the sample) str, in the sample's order; the last column is filled.
        dataset: (n,) the collection of each image, as its label names it.
        row: (n,) int64, the annotation behind each line.
        key: what the sample's ids are, of `reid.sources.named_images.KEYS`.
        not_asked: annotations that the sample does not name, and are known by a label.
    """

    table: pd.DataFrame
    dataset: NDArray[np.object_]
    row: NDArray[np.int64]
    key: str
    not_asked: int


def fill_submission(
    sample: pd.DataFrame, rows: pd.DataFrame, *, allow_additional: bool = False
) -> Submission:
    """Fill the last column of a sample submission with `cluster_<dataset>_<n>`.

    n counts the clusters of a data set from 0, in the order in which the sample first names them, so
    that it says nothing but who is with whom.

    Args:
        sample: as text; one column says which image (`image_id`, `id`, …, else the first), the last is
            to be filled, and others stay as they are.
        rows: annotations with image_id, image_path, annotation_id, dataset, identity (null: unknown)
            and cluster_label.
        allow_additional: images without a known identity need not be in the sample.

    Raises:
        InputError: the sample has fewer than two columns, names an image twice, or one that has no
            cluster here, or one with boxes in several clusters; or images that are to be identified
            are not in it.
    """
    if len(sample.columns) < 2:
        raise InputError(
            f"it has {len(sample.columns)} column, {', '.join(sample.columns)}; a sample submission has the "
            "ids of images and a column to be filled"
        )
    fill = sample.columns[-1]
    asked = next((name for name in ID_COLUMNS if name in sample.columns[:-1]), sample.columns[0])
    ids = sample[asked].tolist()
    repeated = sample[asked][sample[asked].duplicated()].tolist()
    if repeated:
        raise InputError(f"{len(repeated):,} ids are there twice: {list_a_few(repeated)}")
    found = find_named(ids, rows)
    if len(found.unknown):
        missing = [ids[i] for i in found.unknown]
        raise InputError(
            f"{len(missing):,} of its {len(ids):,} ids have no cluster here: {list_a_few(missing)}; an image that "
            "could not be read is in failures.parquet, one of another data set was never an --input"
        )
    labels = rows["cluster_label"].to_numpy(object)
    at = _one_row_each(ids, found, labels)
    left = np.setdiff1d(np.arange(len(rows)), found.row)
    known = rows["identity"].notna().to_numpy()[left]
    additional = rows["image_path"].to_numpy(object)[left[~known]].tolist()
    if additional and not allow_additional:
        raise InputError(
            f"{len(additional):,} images without a known identity are not in the sample: {list_a_few(additional)}; "
            "is it the sample of these images? --allow-additional leaves them out"
        )
    dataset = rows["dataset"].to_numpy(object)[at]
    table = sample.copy()
    table[fill] = _numbered(labels[at], dataset)
    return Submission(table, dataset, at, found.key, int(known.sum()))


def _one_row_each(
    ids: Sequence[str], found: Named, labels: NDArray[np.object_]
) -> NDArray[np.int64]:
    """The annotation of each id; boxes of one image must be in one cluster."""
    first = np.flatnonzero(np.diff(found.name, prepend=-1))
    at = found.row[first]
    torn = found.name[labels[found.row] != labels[at][found.name]]
    if len(torn):
        several = list(dict.fromkeys(ids[i] for i in torn))
        raise InputError(
            f"{len(several):,} ids are images with boxes in several clusters ({list_a_few(several)}), and the sample "
            f"has one line for each: its ids were taken as {found.key}"
        )
    return at


def _numbered(labels: NDArray[np.object_], dataset: NDArray[np.object_]) -> list[str]:
    words = {name: re.sub(r"\W+", "-", str(name)).strip("-") or "images" for name in set(dataset)}
    if len(set(words.values())) < len(words):
        raise InputError(
            f"data sets {', '.join(sorted(map(str, words)))} cannot be told apart in a label; rename one"
        )
    numbers: dict[str, dict[str, int]] = {}
    made = []
    for label, name in zip(labels, dataset, strict=True):
        own = numbers.setdefault(name, {})
        made.append(f"cluster_{words[name]}_{own.setdefault(label, len(own))}")
    return made
