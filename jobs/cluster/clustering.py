"""Embeddings → individuals, species by species."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.cluster.decided import with_decisions
from jobs.cluster.groups import Group
from jobs.cluster.judging import judge_group
from jobs.cluster.species_individuals import cluster_group
from jobs.common import outputs
from jobs.common.console import say
from jobs.common.counters import count
from jobs.common.verdicts import worst_of
from jobs.neighbours.placement import (
    search_backend,
    search_device,
    tasks_on_gpu,
    wants_tasks,
)
from reid import cluster as clustering
from reid import metrics, schema, store
from reid.config import Config
from reid.neighbors import choose_graph_backend
from reid.spreadsheet import guard_note
from reid.tune import Individuals, can_tune
from reid.verdict import Verdict

IDENTITIES_HEADER = (
    "image_path", "annotation_id", "image_id", "species", "cluster_label", "identity",
    "nearest_image", "nearest_distance",
)  # fmt: skip
RETRIEVAL_ROWS = 10_000  # each is compared with all; beyond it takes longer than the clustering


@dataclass
class ClusterSummary:
    """Counts of the clustering stage, as written to summary.json."""

    images: int = 0
    individuals: int = 0
    singletons: int = 0  # of the individuals: with one image
    seen_once: int = 0  # of the individuals: all images of one encounter
    seconds: float = 0.0
    species: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    verdict: dict[str, Any] = field(default_factory=dict)  # level, and sentences


def cluster(
    config: Config, groups: Sequence[Group], decisions: pa.Table | None = None
) -> ClusterSummary:
    """Cluster every species and write clusters.parquet, identities.csv and tuning.json.

    Args:
        config: the resolved configuration.
        groups: the species.
        decisions: schema.DECISIONS; matches and nomatches hold, whatever the distances say. Scores and
            verdicts are on the clusters without them, as they are about the model.

    Raises:
        InputError: settings that do not fit, or decisions that contradict each other.
    """
    started = time.perf_counter()
    found: dict[str, Individuals] = {}

    # Species with labels first: their thresholds may have to serve the others.
    def lenders_last(group: Group) -> tuple[bool, bool, str]:
        lender = group.species == config.cluster.fallback_species
        return not can_tune(group.identities), not lender, group.species

    for group in sorted(groups, key=lenders_last):
        began = time.perf_counter()
        found[group.species] = cluster_group(
            config, group, {name: one.threshold for name, one in found.items()}
        )
        _say_found(group, found[group.species], time.perf_counter() - began)
    summary = ClusterSummary()
    labels: list[pa.Array] = []
    verdicts: dict[str, Verdict] = {}
    words = clustering.species_words(group.species for group in groups)
    raw = {name: one.labels for name, one in found.items()}
    for group in groups:
        one = found[group.species]
        if decisions is not None and len(decisions):
            one = found[group.species] = with_decisions(group, one, decisions)
        labels.append(cluster_labels(words[group.species], one.labels))
        # Of a cluster that people joined to another one the number is free.
        _, sizes = np.unique(clustering.noise_to_singletons(one.labels), return_counts=True)
        single = int((sizes == 1).sum())
        once = _seen_once(group, one.labels)
        warnings = [f"{group.species}: {text}" for text in one.warnings]
        copies = int((~metrics.without_copies(group.content_hashes, group.identities)).sum())
        if copies:
            left = "; mAP and top-1 leave them out, as a picture that finds itself proves nothing"
            warnings.append(
                f"{group.species}: {copies:,} image{'s are copies' if copies > 1 else ' is a copy'} of others here, "
                f"to the last pixel{left if can_tune(group.identities) else ''}"
            )
        summary.images += len(group.rows)
        summary.individuals += len(sizes)
        summary.singletons += single
        summary.seen_once += once
        summary.warnings += warnings
        scores = _scores(group, raw[group.species])
        judged = replace(one, labels=raw[group.species])
        verdicts[group.species] = judge_group(group, judged, scores.get("top_1"), seed=config.seed)
        summary.species[group.species] = {
            "images": len(group.rows),
            "individuals": len(sizes),
            "singletons": single,
            "seen_once": once,
            "copies": copies,
            "largest": int(sizes.max()),
            "eps": one.threshold.eps,
            "eps_source": one.threshold.source,
            "method": one.threshold.method,
            "criterion": one.threshold.criterion,
            "held_out": one.threshold.held_out,
            "scores": scores,
            "verdict": asdict(verdicts[group.species]),
        }
    summary.verdict = worst_of(verdicts)
    tables = [
        _clusters_of(group, found[group.species], names, raw[group.species])
        for group, names in zip(groups, labels, strict=True)
    ]
    write_clusters(config, groups, tables)
    _write_tuning(config, groups, found)
    summary.seconds = round(time.perf_counter() - started, 2)
    count(config, "images", summary.images, stage="cluster", outcome="clustered")
    count(config, "seconds", summary.seconds, stage="cluster")
    return summary


def cluster_labels(word: str, labels: np.ndarray) -> pa.StringArray:
    """`cluster_<species>_<n>` for each row; a noise row gets a number of its own, after the clusters.

    Args:
        word: of `species_words`.
        labels: (n,) cluster of each row, −1 = noise.
    """
    numbers = pa.array(clustering.noise_to_singletons(labels)).cast(pa.string())
    return pc.binary_join_element_wise(f"cluster_{word}_", numbers, "")


def _backend_used(config: Config, group: Group, one: Individuals) -> str:
    """What found the neighbours, for the record."""
    plain = one.threshold.method == "dbscan" and one.threshold.k1 is None
    if config.cluster.backend == "cuml" and plain:
        return "cuml"
    on_gpu = tasks_on_gpu(config) if wants_tasks(config) else False
    device = "cuda" if on_gpu else search_device(config.cluster.device)
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return search_backend(config)  # whatever that is on the GPUs of the tasks
    n, d = group.vectors.shape
    return choose_graph_backend(n, d, device, search_backend(config))


def _say_found(group: Group, one: Individuals, seconds: float) -> None:
    eps = one.threshold.note if one.by_pairs else ""
    if one.threshold.eps is not None:
        eps = f"threshold {one.threshold.eps:.3f}: {one.threshold.note}"
    individuals = len(np.unique(clustering.noise_to_singletons(one.labels)))
    once = _seen_once(group, one.labels)
    say(
        f"cluster: {group.species}: {len(group.rows):,} images; {individuals - once:,} individuals seen twice or "
        f"more, {once:,} seen once ({seconds:.1f} s); {eps}"
    )


def _seen_once(group: Group, labels: np.ndarray) -> int:
    """Individuals that were met a single time."""
    return clustering.seen_once(clustering.noise_to_singletons(labels), group.rows["encounter_id"])


def _scores(group: Group, labels: np.ndarray) -> dict[str, float]:
    """Agreement with the known identities, on the rows that have one; empty where they say little."""
    if not can_tune(group.identities):
        return {}
    agreed = metrics.agreement(labels, group.identities)
    scores = {"ari": agreed.ari, "ami": agreed.ami, "pairwise_f1": agreed.pairwise_f1}
    if len(labels) <= RETRIEVAL_ROWS:
        kept = metrics.without_copies(group.content_hashes, group.identities)
        found = metrics.retrieval(group.vectors[kept], group.identities[kept])
        scores |= {"map": found.mean_average_precision, "top_1": found.top_1}
    return {name: value for name, value in scores.items() if np.isfinite(value)}


def _clusters_of(group: Group, one: Individuals, names: pa.Array, found: np.ndarray) -> pa.Table:
    """schema.CLUSTERS of a species."""
    alone = one.nearest < 0
    ids = group.rows["annotation_id"].combine_chunks()
    columns = [
        ids,
        pa.repeat(group.species, len(ids)),
        pa.array(one.labels, pa.int64()),
        names,
        ids.take(pa.array(one.nearest, mask=alone)),
        pa.array(one.nearest_distance, pa.float32(), mask=alone),
        pa.array(found, pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=schema.CLUSTERS)


def write_clusters(config: Config, groups: Sequence[Group], tables: Sequence[pa.Table]) -> None:
    """Write clusters.parquet and identities.csv.

    Args:
        config: the resolved configuration.
        groups: the species.
        tables: schema.CLUSTERS of each, its rows in the order of the group's.
    """
    texts = []
    for group, table in zip(groups, tables, strict=True):
        ids = group.rows["annotation_id"].combine_chunks()
        paths = group.rows["image_path"].combine_chunks()
        place = pc.index_in(table["nearest_id"].combine_chunks(), value_set=ids)
        written = [
            None if distance is None else f"{distance:.6f}"
            for distance in table["nearest_distance"].to_pylist()
        ]
        cells = [
            paths, ids, group.rows["image_id"], table["species"], table["cluster_label"],
            group.rows["identity"], paths.take(place), pa.array(written, pa.string()),
        ]  # fmt: skip
        texts.append(pa.table(cells, names=IDENTITIES_HEADER))
    whole = pa.concat_tables([schema.CLUSTERS.empty_table(), *tables])
    store.write_table(store.join(config.out, outputs.CLUSTERS), whole)
    guarded = outputs.write_sheet(config, outputs.IDENTITIES, pa.concat_tables(texts))
    if guarded:
        say(f"note: {outputs.IDENTITIES}: {guard_note(guarded, 'guard_formulas=false')}")


def _write_tuning(config: Config, groups: Sequence[Group], found: dict[str, Individuals]) -> None:
    tuning = {}
    for group in groups:
        one = found[group.species].threshold
        tuning[group.species] = {
            "eps": one.eps,
            "source": one.source,
            "note": one.note,
            "method": one.method,
            "min_samples": config.cluster.min_samples,
            "k1": one.k1,
            "criterion": one.criterion,
            "score": one.score,
            "held_out_mean": one.held_out[0] if one.held_out else None,
            "held_out_spread": one.held_out[1] if one.held_out else None,
            "expected_ari": one.expected[0] if one.expected else None,
            "expected_spread": one.expected[1] if one.expected else None,
            "interval": one.interval,
            "tried": list(one.tried),
            "notes": found[group.species].notes,
            "warnings": found[group.species].warnings,
            "backend": _backend_used(config, group, found[group.species]),
            "curve": {"thresholds": list(one.thresholds), "scores": list(one.scores)},
        }
    store.write_json(store.join(config.out, outputs.TUNING), tuning)
