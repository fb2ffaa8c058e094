"""The pairs stage: species by species, what is looked at, learned and written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.console import say
from jobs.common.learned_from import write_learned_from
from jobs.common.pair_precision import pair_precision
from jobs.neighbours.placement import search_device
from jobs.pairs.figures import figures
from jobs.pairs.look import Embedded, Seen, look_at
from jobs.pairs.pair_worker import PairTask
from jobs.pairs.shards import Workers
from jobs.pairs.stored_pairs import pair_workers, plan
from reid import schema, store
from reid.config import Config
from reid.pairs import PairModel, fit_pairs, probability
from reid.pairs.matchers import pictures_learned_from


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
    if why := pair_precision(config.pairs)[1]:
        say(f"match: {why}")
    with pair_workers(config) as workers:
        for group, task in zip(groups, tasks, strict=True):
            table, failed, reported = _species(config, workers, task, group)
            tables.append(table)
            failures.append(failed)
            summary.pairs += len(table)
            summary.species[group.species] = reported
    write_learned_from(config.out, pictures_learned_from(config.pairs.matcher))
    whole = pa.concat_tables(tables)
    store.write_table(store.join(config.out, outputs.PAIRS), whole)
    lost = pa.concat_tables(failures)
    store.write_table(store.join(config.out, outputs.KEYPOINT_FAILURES), lost)
    summary.seconds = round(time.perf_counter() - started, 2)
    return summary


def _species(
    config: Config, workers: Workers, task: PairTask, group: Embedded
) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    seen = look_at(config, workers, task, group)
    if not len(seen.evidence):
        return schema.PAIRS.empty_table(), seen.failed, seen.reported
    looked = seen.looked
    model, learned = fit_pairs(looked.features, looked.people, seed=config.seed)
    log_odds = looked.with_cuts(learned)
    reported = seen.reported | {"model": model.as_dict(), "cut": len(looked.cut)}
    reported |= figures(
        seen.rows,
        wide=(seen.wide.pairs, seen.votes),
        matched=(
            looked.pairs,
            {
                "matches_50": seen.evidence["matches_50"].to_numpy().astype(np.float64),
                "probability": log_odds,
            },
        ),
        device=search_device(config.cluster.device),
    )
    _say_learned(group.species, model, reported)
    if looked.cut:
        first = looked.cut[min(looked.cut)]
        say(f"match: {group.species}: {len(looked.cut):,} pairs are cut; the first: {first}")
    return _table(group.species, seen, log_odds), seen.failed, reported


def _table(species: str, seen: Seen, log_odds: np.ndarray) -> pa.Table:
    p = probability(log_odds)
    m = len(log_odds)
    names = pa.array(seen.rows.ids, pa.string())
    a, b = (names.take(pa.array(seen.looked.pairs[:, side])) for side in (0, 1))
    swapped = pc.less(b, a)
    own = {
        "a_id": pc.if_else(swapped, b, a),
        "b_id": pc.if_else(swapped, a, b),
        "species": pa.array([species] * m, pa.string()),
        "cosine_distance": pa.array(seen.wide.distances[seen.listed], pa.float32()),
        "votes": pa.array(seen.votes[seen.listed], pa.float32()),
        "log_odds": pa.array(log_odds, pa.float32()),
        "probability": pa.array(p, pa.float32()),
        "distance": pa.array(1 - p, pa.float32()),
        "cut": pa.array([seen.looked.cut.get(place) for place in range(m)], pa.string()),
    }
    columns = [own[name] if name in own else seen.evidence[name] for name in schema.PAIRS.names]
    table = pa.Table.from_arrays(columns, schema=schema.PAIRS)
    return table.sort_by([("a_id", "ascending"), ("b_id", "ascending")])


def _say_learned(species: str, model: PairModel, reported: dict[str, Any]) -> None:
    say(f"match: {species}: {model.note}")
    if model.kind != "stated":
        say(
            f"match: {species}: pairs of animals that were not trained on: AUC {model.auc:.3f}, calibration "
            f"error {model.ece:.3f} ({model.kind}, {model.calibration})"
        )
    if "shortlist_recall" not in reported:
        return
    asked = f"{reported['asked']:,} {'queries' if reported['split'] else 'images'} that have a mate"
    for name, curve in reported["shortlist_recall"].items():
        steps = ", ".join(f"{share:.2f} at {length}" for length, share in curve.items())
        say(f"match: {species}: shortlist by {name} holds a mate of {asked}: {steps}")
    say(
        f"match: {species}: the best is the animal: {reported['top_1_cosine']:.3f} by cosine, "
        f"{reported['top_1_votes']:.3f} by votes, {reported['top_1_matches_50']:.3f} by matches, "
        f"{reported['top_1_probability']:.3f} by probability"
    )
