"""A closer look at one species: which pairs, what their pictures share, and the numbers that weigh it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import say
from jobs.common.looked import LookedAt
from jobs.common.session import ray_session
from jobs.common.whereabouts import cut_pairs, whereabouts
from jobs.neighbours.placement import search_device
from jobs.pairs.figures import FigureRows
from jobs.pairs.pair_worker import PairTask
from jobs.pairs.shards import Workers
from jobs.pairs.stored_pairs import make_keypoints, make_pairs, pair_workers, plan
from reid import schema
from reid.config import Config
from reid.identify import sides as sides_of
from reid.pairs import (
    Candidates,
    best_voted,
    comparable,
    find_candidates,
    has_mate,
    over_usual,
    pair_features,
    ranked_lists,
)
from reid.pairs.candidates import blocks_of
from reid.pairs.matchers import pictures_learned_from
from reid.splits import column_split
from reid.tune import encode_labels


class Embedded(Protocol):
    """The embedded annotations of one species, see `jobs.cluster.groups.Group`."""

    @property
    def species(self) -> str: ...  # noqa: D102
    @property
    def rows(self) -> pa.Table: ...  # noqa: D102
    @property
    def vectors(self) -> np.ndarray: ...  # noqa: D102


@dataclass(frozen=True)
class Seen:
    """All that was found out about one species.

    Attributes:
        rows: what is known of its annotations.
        wide: pairs that were voted on; `votes` (w,) and `listed` (w,) bool, those that were matched.
        evidence: the numbers of schema.PAIR_EVIDENCE of the listed.
        looked: the same as numbers.
        failed: schema.FAILURES of annotations without keypoints.
        reported: what was done, for summary.json.
    """

    rows: FigureRows
    wide: Candidates
    votes: np.ndarray
    listed: np.ndarray
    evidence: pa.Table
    looked: LookedAt
    failed: pa.Table
    reported: dict[str, Any]


@dataclass(frozen=True)
class _Given:
    species: str
    rows: pa.Table
    vectors: np.ndarray


def look(config: Config, species: str, rows: pa.Table, vectors: np.ndarray) -> LookedAt:
    """The `jobs.common.looked.LookStage`: see `look_at`. Opens a Ray session where there is none."""
    with ray_session(config.address), pair_workers(config) as workers:
        return look_at(
            config, workers, plan(config, species), _Given(species, rows, vectors)
        ).looked


def look_at(config: Config, workers: Workers, task: PairTask, group: Embedded) -> Seen:
    """Find keypoints, vote on wide lists, match the best voted, and say it in numbers.

    Args:
        config: the resolved configuration.
        workers: of `pair_workers`.
        task: of `plan`, for the species.
        group: its annotations.

    Raises:
        StorageError: storage failed, or workers died again and again.
    """
    settings = config.pairs
    device = search_device(config.cluster.device)
    made, failed = make_keypoints(workers, task, group.rows)
    _say(group.species, "images searched for keypoints", made)
    kept = pc.invert(
        pc.is_in(group.rows["annotation_id"], failed["annotation_id"].combine_chunks())
    )
    table = group.rows.filter(kept)
    rows = as_rows(config, table, group.vectors[kept.to_numpy()])
    keys = table["source_key"].to_pylist()
    n = len(rows.ids)
    apart = [rows.photographs]
    if settings.encounters == "together":
        apart.append(rows.encounters)
    wide = find_candidates(
        rows.vectors,
        settings.wide,
        sides=rows.sides,
        apart=apart,
        radius=settings.radius,
        device=device,
    )
    voted, numbers = make_pairs(workers, task, "votes", rows.ids, keys, wide.pairs)
    _say(group.species, "pairs voted on", voted)
    votes = numbers["votes"].to_numpy().astype(np.float64)
    usual = over_usual(wide.pairs, votes, n)
    listed = best_voted(wide.pairs, usual, n, settings.k, rows.ids)
    listed |= (wide.ranks <= settings.nearest).any(axis=1)
    if settings.radius is not None:
        listed |= wide.distances <= settings.radius
    pairs = wide.pairs[listed]
    matched, evidence = make_pairs(workers, task, "evidence", rows.ids, keys, pairs)
    _say(group.species, "pairs matched", matched)
    reported: dict[str, Any] = {
        "images": n,
        "without_pixels": len(failed),
        "keypoints": asdict(made),
        "voted": asdict(voted),
        "matched": asdict(matched),
        "recipe": task.recipe.folder,
    }
    where = whereabouts(table, settings.deployments)
    placed = settings.deployments is not None
    features = pair_features(
        evidence,
        cosine=1 - wide.distances[listed],
        ranks=wide.ranks[listed],
        shared=wide.shared[listed],
        votes=votes[listed],
        votes_over_usual=usual[listed],
        votes_ranks=_ranks(n, wide.pairs, votes, rows.ids, settings.k)[listed],
        same_side=None
        if rows.sides is None
        else rows.sides[pairs[:, 0]] == rows.sides[pairs[:, 1]],
        days_between=where.seconds(pairs) / 86400 if placed else None,
        kilometres=where.kilometres(pairs) if placed else None,
    )
    # Two pictures of one encounter prove nothing about two nights.
    people = rows.identities[pairs]
    people[~comparable(pairs, None, [rows.encounters])] = -1
    both_known = np.isin(rows.ids, pictures_learned_from(settings.matcher))[pairs].all(axis=1)
    if taught := int((both_known & (people >= 0).all(axis=1)).sum()):
        say(
            f"match: {group.species}: {taught:,} labelled pairs are of pictures that {settings.matcher} has learned "
            "from, and teach nothing here"
        )
    people[both_known] = -1
    looked = LookedAt(
        ids=rows.ids,
        pairs=pairs,
        features=features,
        people=people,
        has_mate=has_mate(rows.identities, rows.sides, [rows.photographs, rows.encounters]),
        cut=cut_pairs(
            settings, group.species, where, pairs, config.cluster.range_km.get(group.species)
        ),
        without_pixels=len(failed),
    )
    return Seen(rows, wide, votes, listed, evidence, looked, failed, reported)


def as_rows(config: Config, table: pa.Table, vectors: np.ndarray) -> FigureRows:
    """What is known of annotations (schema.ANNOTATIONS), as numbers."""
    columns = {name: table[name].to_pylist() for name in schema.ANNOTATIONS.names}
    side = sides_of(columns["viewpoint"], config.pairs.viewpoints)
    return FigureRows(
        ids=columns["annotation_id"],
        vectors=np.ascontiguousarray(vectors),
        identities=encode_labels(np.asarray(columns["identity"], dtype=object)),
        # There: −1 left, 1 right, 0 neither; here what is not known is −1.
        sides=None if side is None else np.where(side == 0, -1, side > 0).astype(np.int64),
        encounters=pd.factorize(np.asarray(columns["encounter_id"], dtype=object))[0],
        photographs=pd.factorize(np.asarray(columns["image_path"], dtype=object))[0],
        split=column_split(columns["split"]),
    )


def _ranks(
    n: int, pairs: np.ndarray, votes: np.ndarray, names: Sequence[str], k: int
) -> np.ndarray:
    """(m, 2) places by votes, from 1; one more than the list's length where it is not in it."""
    lists = ranked_lists(n, pairs, votes, 2 * k, names=names)
    result = np.full((len(pairs), 2), 2 * k + 1)
    for part in blocks_of(len(pairs), lists.shape[1]):
        for side in (0, 1):
            hit = lists[pairs[part, side]] == pairs[part, 1 - side, None]
            result[part, side] = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 2 * k + 1)
    return result


def _say(species: str, what: str, made: Any) -> None:
    failed = f", {made.failed:,} failed" if made.failed else ""
    by = f"; {made.by}" if made.by else ""
    say(
        f"match: {species}: {made.new:,} {what}, {made.reused:,} known already{failed} "
        f"({made.seconds:.1f} s{by})"
    )
