"""Pairs that a person should judge: why they are asked, and what an answer would change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.catalogue import SpeciesGraph
from reid.identify import review_candidates
from reid.identify.constraints import must_links
from reid.identify.decisions import undecided_crossings
from reid.identify.species_nodes import Species, read_species, row_edges
from reid.review.within import EVERYWHERE, Within, ids_within

if TYPE_CHECKING:
    from scipy.sparse import csr_array


OTHERS = 6  # further images shown of each side
SHORTEST = 1e-6  # a link of length 0 would be none to scipy

Group = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two images of a question.

    Attributes:
        annotation_id: its id.
        identity_id: whom the catalogue takes it for.
        images: that this individual has.
        others: ids of other images of the individual, the most alike first. Where both sides are
            one individual, those that hang together with this side rather than with the other.
    """

    annotation_id: str
    identity_id: str
    images: int
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """Do these two images show the same individual?

    Attributes:
        species: theirs.
        kind: `new`, `near`, `bridge` or `margin`, see `reid.identify.review_candidates`.
        a, b: the two sides; the smaller annotation id is a's.
        distance: between the two.
        probability: that they show the same individual.
        calibrated: False where the probability is drawn between two thresholds for want of labels.
        expected_corrections: expected number of images that a look puts right.
        why: a sentence.
        if_match, if_nomatch: what the answer does, to follow it.
    """

    species: str
    kind: str
    a: Side
    b: Side
    distance: float
    probability: float
    calibrated: bool
    expected_corrections: float
    why: str
    if_match: str
    if_nomatch: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What is in doubt about one species.

    Attributes:
        questions: most worth first, up to the limit.
        expected: (k,) float64, falling: how many images each pair in doubt is expected to put right, those beyond
            the limit as well.
        unseen: images expected to be wrong that no pair shows: nobody else is within reach of their individuals.
        images: that are asked about.
        learned: whether labels taught the probabilities; else `expected` is a rank, and no number of images.
    """

    questions: list[Question]
    expected: NDArray[np.float64]
    unseen: float
    images: int
    learned: bool


def ask(
    graph: SpeciesGraph,
    decisions: pa.Table,
    *,
    limit: int = 200,
    within: Within = EVERYWHERE,
) -> Asked:
    """What to ask about one species, most worth first.

    Args:
        graph: of the species, as `reid.catalogue.read_graph` gives it.
        decisions: all decisions of the catalogue; pairs that somebody has judged are left out.
        limit: questions at most.
        within: which pictures; a pair is asked about where one of its two is among them.
    """
    rules = graph.rules
    individuals = max(1, len(pc.unique(graph.rows["identity_id"])))
    calibration = rules.calibration and rules.calibration.for_gallery(individuals)
    about = ids_within(within, graph.rows, decisions)
    found = review_candidates(
        graph.species,
        graph.rows,
        graph.edges,
        decisions,
        known_distance=rules.known_distance,
        new_distance=rules.new_distance,
        calibration=calibration,
        encounters=rules.encounters,
        about=about,
        limit=None,
    )
    asked: list[Question] = []
    unseen = 0.0
    if len(found) or calibration is not None:
        read = read_species(graph.rows, decisions, encounters=rules.encounters)
        surroundings = _Surroundings(read, graph.edges, rules.known_distance)
        asked = [
            _question(candidate, surroundings, calibration is not None)
            for candidate in found.slice(0, limit).to_pylist()
        ]
        if calibration is not None:
            unseen = float(calibration(rules.radius)) * surroundings.out_of_reach(about)
    expected = found["expected_corrections"].to_numpy().astype(np.float64)
    images = len(graph.rows) if about is None else len(about)
    return Asked(asked, expected, unseen, images, calibration is not None)


def best_questions(asked: Iterable[Asked], limit: int) -> list[Question]:
    """The best of several species, most worth first."""
    return sorted(
        (question for one in asked for question in one.questions),
        key=lambda one: (-one.expected_corrections, one.species, one.a.annotation_id),
    )[:limit]


class _Surroundings:
    """What lies around a pair: the images of its individuals, and who else is near."""

    def __init__(self, species: Species, edges: pa.Table, known_distance: float) -> None:
        from scipy.sparse import coo_array

        self.ids = species.rows["annotation_id"].to_numpy(zero_copy_only=False)
        self.index = pd.Index(self.ids)
        component, names = pd.factorize(species.rows["identity_id"].to_numpy(zero_copy_only=False))
        self.component, self.names = component.astype(np.int64), names
        order = np.argsort(self.component, kind="stable")
        ends = np.cumsum(np.bincount(self.component))
        self.members = np.split(order, ends[:-1])
        self.pairs, self.distances = row_edges(species, edges)
        must, _ = must_links(species.constraints)
        inside = (self.distances <= np.float32(known_distance)) & (
            self.component[self.pairs[:, 0]] == self.component[self.pairs[:, 1]]
        )
        links = np.concatenate([self.pairs[inside], must])
        lengths = np.concatenate([self.distances[inside], np.zeros(len(must), np.float32)])
        n = len(self.ids)
        weights = coo_array((lengths + SHORTEST, (links[:, 0], links[:, 1])), shape=(n, n))
        self.links: csr_array[Any, Any] = weights.tocsr()
        self.crossing, _ = undecided_crossings(self.component, self.pairs, species.constraints)

    def out_of_reach(self, about: pa.Array | None) -> int:
        """How many images, of those with these ids, are of individuals that no link brings near to another."""
        near = np.zeros(len(self.members), np.bool_)
        near[self.component[self.pairs[self.crossing]].ravel()] = True
        far = ~near[self.component]
        if about is not None:
            far &= pc.is_in(pa.array(self.ids, pa.string()), value_set=about).to_numpy(False)
        return int(far.sum())

    def others(self, a: int, b: int) -> tuple[list[str], list[str]]:
        """Ids of other images of each side's individual."""
        if self.component[a] != self.component[b]:
            own, other = (self.members[self.component[row]] for row in (a, b))
            return (
                self._nearest(own, self._ways(own, a)[0]),
                self._nearest(other, self._ways(other, b)[0]),
            )
        group = self.members[self.component[a]]
        to_a, to_b = self._ways(group, a, b)
        nearer_a = to_a <= to_b
        return (
            self._nearest(group, np.where(nearer_a, to_a, np.inf), within=True),
            self._nearest(group, np.where(nearer_a, np.inf, to_b), within=True),
        )

    def _ways(self, group: Group, *asked: int) -> NDArray[np.float64]:
        """(len(asked), len(group)) lengths of the ways from each, which avoid the link between two."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import dijkstra

        own = self.links[group][:, group].tocoo()
        places = np.searchsorted(group, asked)
        between = np.isin(own.row, places) & np.isin(own.col, places)
        kept = coo_array(
            (own.data[~between], (own.row[~between], own.col[~between])), shape=own.shape
        )
        ways: NDArray[np.float64] = dijkstra(kept.tocsr(), directed=False, indices=places)
        ways[:, places] = np.nan
        return ways

    def _nearest(
        self, group: Group, ways: NDArray[np.float64], *, within: bool = False
    ) -> list[str]:
        """Ids of the rows of a group with the shortest ways; NaN is nobody."""
        order = np.argsort(ways, kind="stable")
        fit = np.isfinite(ways[order]) if within else ~np.isnan(ways[order])
        return [str(one) for one in self.ids[group[order[fit][:OTHERS]]]]

    def stranger(self, a: int, b: int) -> tuple[str, float] | None:
        """The nearest other individual that either row may still turn out to be, and how near."""
        first, second = self.pairs[self.crossing].T
        places = self.crossing[(first == a) | (first == b) | (second == a) | (second == b)]
        if not len(places):
            return None
        place = places[np.argmin(self.distances[places])]
        one, two = self.component[self.pairs[place]].tolist()
        other = two if one == self.component[a] else one
        return str(self.names[other]), float(self.distances[place])


def _question(candidate: dict[str, Any], surroundings: _Surroundings, calibrated: bool) -> Question:
    a, b = (int(surroundings.index.get_loc(candidate[name])) for name in ("a_id", "b_id"))
    first, second = (
        Side(
            str(surroundings.ids[row]),
            str(surroundings.names[surroundings.component[row]]),
            len(surroundings.members[surroundings.component[row]]),
            tuple(others),
        )
        for row, others in zip((a, b), surroundings.others(a, b), strict=True)
    )
    stranger = surroundings.stranger(a, b) if candidate["kind"] == "margin" else None
    why, if_match, if_nomatch = _words(candidate, first, second, stranger)
    return Question(
        species=candidate["species"],
        kind=candidate["kind"],
        a=first,
        b=second,
        distance=candidate["distance"],
        probability=candidate["probability"],
        calibrated=calibrated,
        expected_corrections=candidate["expected_corrections"],
        why=why,
        if_match=if_match,
        if_nomatch=if_nomatch,
    )


def _words(
    candidate: dict[str, Any], a: Side, b: Side, stranger: tuple[str, float] | None
) -> tuple[str, str, str]:
    """Why it is asked, and what either answer would do."""
    kind = candidate["kind"]
    small, large = (a, b) if a.images < b.images else (b, a)
    who = a.identity_id
    if kind in ("new", "near"):
        if kind == "new":
            why = (
                f"{small.identity_id} has this one image only, and no image of another individual "
                f"is nearer to it than this one of {large.identity_id}."
            )
        else:
            why = (
                f"Of all images of other individuals, these two bring {small.identity_id} and "
                f"{large.identity_id} nearest to each other."
            )
        return (
            why,
            f"would join 2 identities of {large.images:,} and {_images(small.images)}",
            f"keeps {a.identity_id} and {b.identity_id} apart in every later run",
        )
    if kind == "bridge":
        part = candidate["rows"]
        rest = a.images - part
        return (
            f"This pair alone holds two parts of {who} together.",
            f"keeps {who} as it is, {_images(a.images)}",
            f"would part {who} into two, of {max(part, rest):,} and {_images(min(part, rest))}",
        )
    near = "" if stranger is None else f", and {stranger[0]} is nearly as near ({stranger[1]:.3f})"
    return (
        f"Both are taken for {who}{near}.",
        f"keeps both in {who} in every later run",
        f"would part these two; the other images of {who} go with whom they are nearest to",
    )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
