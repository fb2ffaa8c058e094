"""Matched points of a few pairs, for the pages: found again from stored keypoints.

A page shows some hundred pairs of a million. Keeping the points of all would take more room than the
evidence of all; finding those of the few that are shown takes a minute at most.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import progress
from jobs.common.session import cores_here
from jobs.pairs.stored_pairs import make_keypoints, pair_workers, plan
from reid.config import Config
from reid.keypoints import KeypointStore
from reid.pairs import Matches, load_matcher, match_pairs, vote_pairs
from reid.report.pair_evidence import PairEvidence, pair_evidence, sorted_measures

AT_ONCE = 8  # pairs between two steps of the progress bar
Pair = tuple[str, str]


def find_keypoints(config: Config, rows: pa.Table) -> None:
    """Find the keypoints that annotations (schema.ANNOTATIONS) lack. Needs a Ray session."""
    with pair_workers(config) as workers:
        for species in pc.unique(rows["species"]).to_pylist():
            task = plan(config, species)
            make_keypoints(workers, task, rows.filter(pc.equal(rows["species"], species)))


def shown_evidence(
    config: Config, rows: pa.Table, pairs: Sequence[Pair], known: pa.Table | None = None
) -> dict[Pair, PairEvidence]:
    """What a page shows of pairs; those of which a picture has no keypoints are left out.

    Args:
        config: the resolved configuration; `pairs` and `images` say which keypoints.
        rows: schema.ANNOTATIONS of both ends of the pairs, which are of one species each.
        pairs: annotation ids, the smaller one first.
        known: schema.PAIRS, against which the numbers are told; None: against each other.

    Raises:
        MissingPackageError: the matcher needs the extra `local`.
    """
    species = dict(zip(rows["annotation_id"].to_pylist(), rows["species"].to_pylist(), strict=True))
    about = {row["annotation_id"]: row for row in rows.to_pylist()}
    found: dict[Pair, PairEvidence] = {}
    with progress("matched points", len(pairs), "pairs") as advance:
        for name in sorted({species[a] for a, _ in pairs}):
            own = [pair for pair in pairs if species[pair[0]] == name]
            told = None if known is None else known.filter(pc.equal(known["species"], name))
            found |= _of_species(config, name, about, own, told, advance)
    return found


def _of_species(
    config: Config,
    species: str,
    about: Mapping[str, Mapping[str, Any]],
    pairs: Sequence[Pair],
    known: pa.Table | None,
    advance: Any,
) -> dict[Pair, PairEvidence]:
    task = plan(config, species)
    stored = KeypointStore(task.keypoints).read([name for pair in pairs for name in pair])
    fresh = {one for one, of in stored.items() if of.source_key == about[one]["source_key"]}
    pairs = [pair for pair in pairs if {*pair} <= fresh]
    if not pairs:
        return {}
    match, _ = load_matcher(
        task.matcher,
        device=task.device if task.device != "auto" else "cpu",
        precision=task.precision,  # type: ignore[arg-type]
        runtime=task.runtime,  # type: ignore[arg-type]
        threads=cores_here(),
    )
    matches: list[Matches] = []
    for start in range(0, len(pairs), AT_ONCE):
        part = pairs[start : start + AT_ONCE]
        matches += match([(stored[a], stored[b]) for a, b in part])
        advance(len(part))
    # The rows of evidence from the matches that are there already.
    numbers = match_pairs(lambda _: matches, task.recipe.extractor, pairs, stored).to_pandas()
    numbers["votes"] = vote_pairs(task.recipe.extractor, pairs, stored)["votes"].to_pandas()
    others = numbers
    if known is not None:
        others = known.to_pandas().assign(cosine=1 - known["cosine_distance"].to_numpy())
        numbers = numbers.merge(others[["a_id", "b_id", "cosine", "cut"]], "left", ["a_id", "b_id"])
    compared = sorted_measures(others)
    return {
        pair: pair_evidence(
            one,
            (stored[pair[0]], stored[pair[1]]),
            task.recipe.window,
            {name: None if pd.isna(row[name]) else row[name] for name in row},
            compared,
            (about[pair[0]], about[pair[1]]),
        )
        for pair, one, row in zip(pairs, matches, numbers.to_dict("records"), strict=True)
    }
