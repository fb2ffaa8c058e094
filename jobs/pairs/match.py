"""The pairs stage: species by species, what is looked at, learned and written."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.console import say
from jobs.neighbours.placement import search_device
from jobs.pairs.figures import FigureRows, figures
from jobs.pairs.pair_worker import PairTask
from jobs.pairs.shards import Workers
from jobs.pairs.stored_pairs import make_keypoints, make_pairs, pair_workers, plan
from jobs.pairs.whereabouts import cut_pairs, whereabouts
from reid import schema, store
from reid.config import Config
from reid.identify import sides as sides_of
from reid.pairs import (
    PairModel,
    best_voted,
    comparable,
    find_candidates,
    fit_pairs,
    pair_features,
    probability,
    ranked_lists,
)
from reid.pairs.classifier import MOST_LOG_ODDS
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


@dataclass
class MatchSummary:
    """Counts of the stage, as written to summary.json."""

    pairs: int = 0
    seconds: float = 0.0
    species: dict[str, dict[str, Any]] = field(default_factory=dict)


def match(config: Config, groups: Sequence[Embedded]) -> MatchSummary:
    """Look at the pairs of every species and write pairs.parquet. Needs a Ray session.

    Raises:
        InputError: settings that do not fit.
        MissingPackageError: the matcher needs the extra `local`.
    """
    started = time.perf_counter()
    summary = MatchSummary()
    tables = [schema.PAIRS.empty_table()]
    failures = [schema.FAILURES.empty_table()]
    tasks = [plan(config, group.species) for group in groups]
    with pair_workers(config) as workers:
        for group, task in zip(groups, tasks, strict=True):
            table, failed, told = _species(config, workers, task, group)
            tables.append(table)
            failures.append(failed)
            summary.pairs += len(table)
            summary.species[group.species] = told
    whole = pa.concat_tables(tables)
    store.write_table(store.join(config.out, outputs.PAIRS), whole)
    lost = pa.concat_tables(failures)
    store.write_table(store.join(config.out, outputs.KEYPOINT_FAILURES), lost)
    summary.seconds = round(time.perf_counter() - started, 2)
    return summary


def _species(
    config: Config, workers: Workers, task: PairTask, group: Embedded
) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    settings = config.pairs
    device = search_device(config.cluster.device)
    made, failed = make_keypoints(workers, task, group.rows)
    _say(group.species, "images searched for keypoints", made)
    kept = pc.invert(
        pc.is_in(group.rows["annotation_id"], failed["annotation_id"].combine_chunks())
    )
    rows = as_rows(config, group.rows.filter(kept), group.vectors[kept.to_numpy()])
    keys = group.rows.filter(kept)["source_key"].to_pylist()
    n = len(rows.ids)
    apart = [rows.photographs]
    if settings.encounters == "together":
        apart.append(rows.encounters)
    wide = find_candidates(
        rows.vectors, settings.wide, sides=rows.sides, apart=apart, device=device
    )
    voted, table = make_pairs(workers, task, "votes", rows.ids, keys, wide.pairs)
    _say(group.species, "pairs voted on", voted)
    votes = np.zeros(0) if table is None else table["votes"].to_numpy().astype(np.float64)
    listed = best_voted(wide.pairs, votes, n, settings.k, rows.ids)
    listed |= (wide.ranks <= settings.nearest).any(axis=1)
    if settings.radius is not None:
        listed |= wide.distances <= settings.radius
    pairs = wide.pairs[listed]
    matched, evidence = make_pairs(workers, task, "evidence", rows.ids, keys, pairs)
    _say(group.species, "pairs matched", matched)
    told: dict[str, Any] = {
        "images": n,
        "without_pixels": len(failed),
        "keypoints": asdict(made),
        "voted": asdict(voted),
        "matched": asdict(matched),
        "recipe": task.recipe.folder,
    }
    if evidence is None:
        return schema.PAIRS.empty_table(), failed, told
    where = whereabouts(group.rows.filter(kept), settings.deployments)
    cut = cut_pairs(settings, group.species, where, pairs)
    placed = settings.deployments is not None
    features = pair_features(
        evidence,
        cosine=1 - wide.distances[listed],
        ranks=wide.ranks[listed],
        shared=wide.shared[listed],
        votes=votes[listed],
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
    model, log_odds = fit_pairs(features, people, seed=config.seed)
    log_odds[list(cut)] = -MOST_LOG_ODDS
    told |= {"model": model.as_dict(), "cut": len(cut)}
    told |= figures(
        rows,
        wide=(wide.pairs, votes),
        matched=(
            pairs,
            {
                "matches_50": evidence["matches_50"].to_numpy().astype(np.float64),
                "probability": log_odds,
            },
        ),
        device=device,
    )
    _say_learned(group.species, model, told)
    if cut:
        say(f"match: {group.species}: {len(cut):,} pairs are cut; the first: {cut[min(cut)]}")
    table = _table(group.species, evidence, wide.distances[listed], votes[listed], log_odds, cut)
    return table, failed, told


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
    for start in range(0, len(pairs), 65_536):
        part = slice(start, start + 65_536)
        for side in (0, 1):
            hit = lists[pairs[part, side]] == pairs[part, 1 - side, None]
            result[part, side] = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 2 * k + 1)
    return result


def _table(
    species: str,
    evidence: pa.Table,
    distances: np.ndarray,
    votes: np.ndarray,
    log_odds: np.ndarray,
    cut: Mapping[int, str],
) -> pa.Table:
    p = probability(log_odds)
    m = len(evidence)
    own = {
        "species": pa.array([species] * m, pa.string()),
        "cosine_distance": pa.array(distances, pa.float32()),
        "votes": pa.array(votes, pa.float32()),
        "log_odds": pa.array(log_odds, pa.float32()),
        "probability": pa.array(p, pa.float32()),
        "distance": pa.array(1 - p, pa.float32()),
        "cut": pa.array([cut.get(place) for place in range(m)], pa.string()),
    }
    columns = [own[name] if name in own else evidence[name] for name in schema.PAIRS.names]
    table = pa.Table.from_arrays(columns, schema=schema.PAIRS)
    return table.sort_by([("a_id", "ascending"), ("b_id", "ascending")])


def _say(species: str, what: str, made: Any) -> None:
    failed = f", {made.failed:,} failed" if made.failed else ""
    by = f"; {made.by}" if made.by else ""
    say(
        f"match: {species}: {made.new:,} {what}, {made.reused:,} known already{failed} "
        f"({made.seconds:.1f} s{by})"
    )


def _say_learned(species: str, model: PairModel, told: dict[str, Any]) -> None:
    say(f"match: {species}: {model.note}")
    if model.kind != "stated":
        say(
            f"match: {species}: pairs of animals that were not trained on: AUC {model.auc:.3f}, calibration "
            f"error {model.ece:.3f} ({model.kind}, {model.calibration})"
        )
    if "shortlist_recall" not in told:
        return
    asked = f"{told['asked']:,} {'queries' if told['split'] else 'images'} that have a mate"
    for name, curve in told["shortlist_recall"].items():
        steps = ", ".join(f"{share:.2f} at {length}" for length, share in curve.items())
        say(f"match: {species}: shortlist by {name} holds a mate of {asked}: {steps}")
    say(
        f"match: {species}: the best is the animal: {told['top_1_cosine']:.3f} by cosine, "
        f"{told['top_1_votes']:.3f} by votes, {told['top_1_matches_50']:.3f} by matches, "
        f"{told['top_1_probability']:.3f} by probability"
    )
