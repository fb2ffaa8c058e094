"""Tables of an output folder → report.html."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.cluster.groups import Group, read_clusters, read_groups
from jobs.common import outputs
from jobs.common.pictures import crops
from reid import store
from reid.config import Config, dump_config
from reid.metrics import Evaluation
from reid.report import ReportData, ShownPair, TuningCurve, write_report
from reid.report.pair_evidence import PairEvidence
from reid.report.report_page import PAIR_PX

THUMBNAIL_PIXELS = 256  # decoded at least this large; the report makes them smaller


# Annotations (schema.ANNOTATIONS), pairs of their ids, and all pairs (schema.PAIRS) → what is drawn and said.
Look = Callable[
    [pa.Table, Sequence[tuple[str, str]], pa.Table], Mapping[tuple[str, str], PairEvidence]
]


def report(config: Config, look: Look | None = None) -> dict[str, Any]:
    """Write report.html from what earlier stages wrote.

    Args:
        config: the resolved configuration.
        look: finds the matched points of pairs; None: none are shown.

    Returns:
        What was written and what was left out.

    Raises:
        InputError: an earlier stage has not run.
    """
    groups = read_groups(config.out)
    rows = pd.concat([group.rows.to_pandas() for group in groups], ignore_index=True)
    clusters = read_clusters(config.out, rows["annotation_id"]).to_pandas()
    annotations = rows.merge(
        clusters.drop(columns="species"), on="annotation_id", how="left", validate="one_to_one"
    )
    summary = outputs.read_summary(config.out)
    stream = io.BytesIO()
    pairs = [] if look is None else _pairs(config, groups, look)
    data = ReportData(
        title="Which images show the same individual?",
        annotations=annotations,
        embeddings=_vectors(groups) if config.report.map else None,
        thumbnail=crops(config.images, rows, (PAIR_PX[0] if pairs else THUMBNAIL_PIXELS) // 2),
        counts=_counts(summary),
        stage_seconds={
            stage: summary[stage]["seconds"] for stage in ("embed", "cluster") if stage in summary
        },
        tuning=_curves(outputs.read_tuning(config.out, [group.species for group in groups])),
        scores=_species_scores(summary),
        evaluation=_evaluations(summary),
        pairs=pairs,
        failures=outputs.read_failures(config.out).to_pandas(),
        verdicts=_verdicts(summary),
        warnings=summary.get("cluster", {}).get("warnings", []),
        config_yaml=dump_config(config),
        versions=outputs.versions(),
        seed=config.seed,
    )
    written = write_report(stream, data, budget_bytes=int(config.report.max_megabytes * 1e6))
    store.write_bytes(store.join(config.out, outputs.REPORT), stream.getvalue())
    return dict(written)


def _pairs(config: Config, groups: Sequence[Group], look: Look) -> list[ShownPair]:
    """The surest link of each image, the most doubtful first."""
    if not config.report.pairs or not store.exists(store.join(config.out, outputs.PAIRS)):
        return []
    table = outputs.read_stage(config.out, outputs.PAIRS, "match")
    every = table.select(["a_id", "b_id", "log_odds", "probability"]).to_pandas()
    ends = pd.concat([every["a_id"], every["b_id"]], ignore_index=True)
    sure = pd.concat([every["log_odds"], every["log_odds"]], ignore_index=True)
    place = np.tile(np.arange(len(every)), 2)
    order = np.lexsort((place, -sure.to_numpy(), ends.to_numpy(dtype=str)))
    best = np.unique(place[order[~ends.iloc[order].duplicated().to_numpy()]])
    doubt = np.argsort(np.abs(every["log_odds"].to_numpy()[best]), kind="stable")
    chosen = every.iloc[best[doubt][: config.report.pairs]]
    pairs = list(zip(chosen["a_id"], chosen["b_id"], strict=True))
    rows = pa.concat_tables([group.rows for group in groups])
    named = pa.array(sorted({name for pair in pairs for name in pair}), pa.string())
    seen = look(rows.filter(pc.is_in(rows["annotation_id"], named)), pairs, table)
    return [
        ShownPair(*pair, float(p), seen[pair])
        for pair, p in zip(pairs, chosen["probability"], strict=True)
        if pair in seen
    ]


def _vectors(groups: Sequence[Group]) -> np.ndarray | dict[str, np.ndarray]:
    """One array where all species have the same recipe, so that one map can show them together."""
    if len({group.folder for group in groups}) == 1:
        return np.concatenate([group.vectors for group in groups])
    return {group.species: group.vectors for group in groups}


def _counts(summary: Mapping[str, Any]) -> dict[str, int | float | str]:
    embed, cluster = summary.get("embed", {}), summary.get("cluster", {})
    # Clustered by an earlier version: of each image.
    once = cluster.get("seen_once", cluster.get("singletons", 0))
    return {
        "images": embed.get("annotations", 0),
        "failures": embed.get("failed", 0),
        "seen twice or more": cluster.get("individuals", 0) - once,
        "seen once": once,
    }


def _verdicts(summary: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Level and sentence of each species; empty where an earlier version clustered."""
    species = summary.get("cluster", {}).get("species", {})
    return {
        name: (one["verdict"]["level"], one["verdict"]["sentence"])
        for name, one in species.items()
        if "verdict" in one
    }


def _species_scores(summary: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Scores against the truth where it is known, otherwise against the labels."""
    truth = summary.get("truth", {}).get("species", {})
    if not truth and "evaluate" in summary:  # says the same, with more care
        return {}
    found = {
        name: values["scores"]
        for name, values in summary.get("cluster", {}).get("species", {}).items()
    }
    scores: dict[str, dict[str, float]] = truth or found
    return {name: values for name, values in scores.items() if values}


def _evaluations(summary: Mapping[str, Any]) -> dict[str, Evaluation]:
    """What `reid evaluate` found since the clusters were made; empty where it was not asked."""
    stored = summary.get("evaluate", {}).get("species", {})
    return {species: Evaluation.from_dict(one) for species, one in stored.items()}


def _curves(tuning: Mapping[str, Any]) -> list[TuningCurve]:
    return [
        TuningCurve(
            species=species,
            eps=one["eps"],
            criterion=one["criterion"],
            thresholds=np.asarray(one["curve"]["thresholds"]),
            scores=np.asarray(one["curve"]["scores"]),
            note=one["note"],
        )
        for species, one in tuning.items()
        if one["eps"] is not None
    ]
