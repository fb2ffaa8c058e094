"""Labels by rank from the classes of a classifier: order, family, genus, species.

A classifier of species that is sure of none may be sure of the genus: the probability of a taxon is the sum of
those of the classes in it. The label is the deepest rank of which one taxon has more than a threshold.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.sources.opened_tables import open_table

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
LEAST_THRESHOLD = (
    0.5  # above it no two taxa of one rank can both pass, so that labels cannot contradict
)
INDEX = ("class_index", "index", "class_id")
_INATURALIST = re.compile(r"\d{5}_(\w+_\w+_\w+_\w+_\w+_\w+_[\w-]+)")


@dataclass(frozen=True)
class Taxonomy:
    """Where each class of a classifier lies in the tree.

    Attributes:
        ranks: from the broadest to the finest.
        names: (classes, ranks) str; "" below where the class ends.
    """

    ranks: tuple[str, ...]
    names: NDArray[np.str_]


@dataclass(frozen=True)
class RankedLabels:
    """What n images show.

    Attributes:
        depth: (n,) int64, place in `ranks` of the label's rank; −1 where not even the first is sure.
        names: (n, ranks) object: the label and the taxa above it; None below.
        probabilities: (n, ranks) float64, of the most probable taxon of each rank.
    """

    depth: NDArray[np.int64]
    names: NDArray[np.object_]
    probabilities: NDArray[np.float64]


def label_by_rank(
    probabilities: NDArray[np.floating], taxonomy: Taxonomy, threshold: float
) -> RankedLabels:
    """The deepest taxon of each row that is more probable than a threshold.

    Args:
        probabilities: (n, classes), rows that sum to 1.
        taxonomy: of these classes.
        threshold: 0.5 <= threshold < 1.

    Raises:
        InputError: another number of classes, or a threshold out of range.

    Example:
        Two bees of one genus and a fly: no species is sure, the genus is.

        >>> tree = Taxonomy(("genus", "species"), np.array([["Apis", "mellifera"], ["Apis", "cerana"], ["Musca", ""]]))
        >>> found = label_by_rank(np.array([[0.5, 0.3, 0.2]]), tree, 0.5)
        >>> found.names.tolist(), found.probabilities.tolist()
        ([['Apis', None]], [[0.8, 0.5]])
    """
    n, classes = probabilities.shape
    if classes != len(taxonomy.names):
        raise InputError(
            f"the taxonomy has {len(taxonomy.names):,} classes, and the model gives {classes:,}"
        )
    if not LEAST_THRESHOLD <= threshold < 1:
        raise InputError(
            f"threshold {threshold:g}: at least {LEAST_THRESHOLD:g} and below 1, so that one taxon of a rank "
            "at most can pass"
        )
    depth = np.full(n, -1, np.int64)
    names = np.full((n, len(taxonomy.ranks)), None, object)
    best = np.zeros((n, len(taxonomy.ranks)))
    for rank in range(len(taxonomy.ranks)):
        taxa, of_class = _taxa(taxonomy.names[:, : rank + 1])
        if not len(taxa):
            continue
        there = np.flatnonzero(of_class >= 0)
        there = there[np.argsort(of_class[there], kind="stable")]
        starts = np.searchsorted(of_class[there], np.arange(len(taxa)))
        summed = np.add.reduceat(probabilities[:, there], starts, axis=1, dtype=np.float64)
        which = summed.argmax(axis=1)
        best[:, rank] = summed[np.arange(n), which]
        sure = np.flatnonzero(best[:, rank] > threshold)
        depth[sure] = rank
        names[sure, : rank + 1] = taxa[which[sure]]
    return RankedLabels(depth, names, best)


def _taxa(names: NDArray[np.str_]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """The taxa of the last rank, (k, ranks) with all above them, and (classes,) which one each class lies in, or −1."""
    known = np.flatnonzero(names[:, -1] != "")
    taxa, which = np.unique(names[known], axis=0, return_inverse=True)
    of_class = np.full(len(names), -1, np.int64)
    of_class[known] = which.reshape(-1)
    return taxa, of_class


def taxonomy_of_names(names: Sequence[str]) -> Taxonomy | None:
    """The taxonomy that class names spell out; None where they are single words.

    Read are `Order;Family;Genus;species`, the last as many of RANKS as there are parts, and the names of
    iNaturalist's data sets, `03111_Animalia_Chordata_Aves_…`.

    Raises:
        InputError: names of different lengths, or longer than RANKS.
    """
    plain = [_INATURALIST.fullmatch(name) for name in names]
    lines = (
        [found[1].split("_", len(RANKS) - 1) for found in plain if found]
        if all(plain)
        else [[part.strip() for part in name.split(";")] for name in names]
    )
    lengths = {len(line) for line in lines}
    if lengths <= {1}:
        return None
    if len(lengths) > 1 or max(lengths) > len(RANKS):
        raise InputError(
            f"class names of {min(lengths)} to {max(lengths)} ranks: give all as many, at most {len(RANKS)}, empty "
            "where there is none, or a --taxonomy"
        )
    return _checked(RANKS[-len(lines[0]) :], lines, "the model's class names")


def read_taxonomy(path: str, classes: int) -> Taxonomy:
    """A table of where each class of a classifier lies: a row a class, a column a rank, the broadest first.

    Args:
        path: CSV, Parquet or a spreadsheet. A column `class_index`, from 0, says which class a row is of; without
            one rows are in the order of the classes. Empty cells are below where a class ends.
        classes: number of classes of the model.

    Raises:
        InputError: it cannot be read; classes are missing, doubled or too many; a class has a gap between ranks.
    """
    table = open_table(path, flag="--taxonomy")
    header = [name.strip() for name in table.header]
    own = next((place for place, name in enumerate(header) if name.lower() in INDEX), None)
    ranks = [place for place in range(len(header)) if place != own]
    _check_ranks(tuple(header[place] for place in ranks), f"--taxonomy {path}")
    cells = [[(one or "").strip() for one in table.texts(place).to_pylist()] for place in ranks]
    lines = [list(line) for line in zip(*cells, strict=True)]
    if own is not None:
        said = table.texts(own).to_pylist()
        wanted = [str(number) for number in range(classes)]
        if sorted(map(str, said)) != sorted(wanted):
            odd = sorted({*map(str, said)} ^ {*wanted})
            raise InputError(
                f"--taxonomy {path}: {header[own]} must name each class from 0 to {classes - 1} once; missing, "
                f"unknown or doubled: {', '.join(odd[:3]) or 'some are doubled'}"
            )
        lines = [lines[at] for at in np.argsort([int(one) for one in said])]
    if len(lines) != classes:
        raise InputError(
            f"--taxonomy {path}: {len(lines):,} rows, and the model has {classes:,} classes"
        )
    return _checked(tuple(header[place] for place in ranks), lines, f"--taxonomy {path}")


def _check_ranks(ranks: tuple[str, ...], where: str) -> None:
    if not ranks or len({*ranks}) < len(ranks) or not all(ranks):
        raise InputError(
            f"{where}: columns {', '.join(ranks) or 'none'}; one a rank is needed, each with a name"
        )


def _checked(ranks: tuple[str, ...], lines: list[list[str]], where: str) -> Taxonomy:
    names = np.array(lines, dtype=np.str_)
    gaps = np.flatnonzero(((names[:, :-1] == "") & (names[:, 1:] != "")).any(axis=1))
    if len(gaps):
        raise InputError(
            f"{where}: class {gaps[0]} has a rank below an empty one: {', '.join(lines[gaps[0]])}"
        )
    return Taxonomy(ranks, names)
