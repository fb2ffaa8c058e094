"""Embeddings and clusters against known identities → a table, evaluation.json and the report."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow.compute as pc
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from jobs.cluster.groups import Group, read_clusters, read_embedding_file, read_groups
from jobs.cluster.labels import encounters, relabel, timestamps
from jobs.cluster.species_individuals import cluster_group
from jobs.common import outputs
from jobs.common.console import PlainConsole, printable, say
from jobs.common.learned_from import labels_that_judge
from reid import metrics, store
from reid.config import Config
from reid.errors import InputError
from reid.identify import sides
from reid.splits import column_split
from reid.tune import encode_labels

Clusters = tuple[np.ndarray | None, str]  # of one species, and where they come from

INDENT = (0, 0, 0, 2)  # of what belongs to a species


def evaluate(
    config: Config, embeddings: str | None = None, labels: str | None = None
) -> dict[str, metrics.Evaluation]:
    """Score what an output folder, or anybody's file of embeddings, holds; write evaluation.json.

    Args:
        config: the resolved configuration.
        embeddings: a file of anybody's, clustered here to score that too; None: the embeddings,
            and the clusters if there are any, of the output folder.
        labels: a table of identities instead of those that came with the images.

    Returns:
        An evaluation of each species that has labels.

    Raises:
        InputError: no species has labels enough, or the labels do not belong to these images.
    """
    started = time.perf_counter()
    groups = (
        read_groups(config.out)
        if embeddings is None
        else read_embedding_file(embeddings, config.species)
    )
    notes: list[str] = []
    if labels is not None:
        groups, notes = relabel(groups, labels, config.sources)
    for note in notes:
        say(f"note: {note}")
    clusters = _stored_clusters(config, groups) if embeddings is None else None
    found: dict[str, metrics.Evaluation] = {}
    left_out: dict[str, str] = {}
    for group in groups:
        try:
            found[group.species] = _evaluate(config, group, clusters)
            if embeddings is None:
                _add_pairs(config, group, found[group.species])
        except InputError as error:
            left_out[group.species] = str(error)
    if not found:
        raise InputError("; ".join(f"{name}: {reason}" for name, reason in left_out.items()))
    for name, reason in left_out.items():
        say(f"note: {name} is left out: {reason}")
    result = {
        "embeddings": embeddings or config.out,
        "labels": labels,
        "species": {name: one.as_dict() for name, one in found.items()},
        "left_out": left_out,
        "notes": notes,
        "seed": config.seed,
        "versions": outputs.versions(),
    }
    path = store.join(config.out, outputs.EVALUATION)
    store.write_json(path, result)
    seconds = round(time.perf_counter() - started, 2)
    if embeddings is None:
        outputs.write_summary(config, "evaluate", {**result, "seconds": seconds})
    show(found)
    say(f"evaluate: {seconds:.1f} s; {path}")
    return found


def _evaluate(
    config: Config, group: Group, clusters: Mapping[str, Clusters] | None
) -> metrics.Evaluation:
    labels, source = (
        _own_clusters(config, group)
        if clusters is None
        else clusters.get(group.species, (None, ""))
    )
    found = metrics.evaluate(
        group.vectors,
        group.identities,
        encounters=encounters(group),
        timestamps=timestamps(group),
        split=column_split(group.rows["split"].to_pylist()),
        photographs=np.asarray(group.rows["image_path"].to_pylist(), dtype=object),
        copies=group.content_hashes,
        seed=config.seed,
    )
    if labels is not None:
        found.parts["clusters"] = metrics.judge_clusters(
            labels, group.identities, source=source, seed=config.seed
        )
    return found


def _add_pairs(config: Config, group: Group, found: metrics.Evaluation) -> None:
    """The figures of `reid match`, where it has looked at these images."""
    if not store.exists(store.join(config.out, outputs.PAIRS)):
        return
    table = outputs.read_stage(config.out, outputs.PAIRS, "match")
    table = table.filter(pc.equal(table["species"], group.species))
    ids = group.rows["annotation_id"].combine_chunks()
    ends = [pc.index_in(table[name].combine_chunks(), value_set=ids) for name in ("a_id", "b_id")]
    if not len(table) or any(end.null_count for end in ends):
        found.notes.append(
            "pairs.parquet is of other images and is not judged: run `reid match` again"
        )
        return
    side = sides(group.rows["viewpoint"].to_pylist(), config.pairs.viewpoints)
    groups = (encounters(group), np.asarray(group.rows["image_path"].to_pylist(), dtype=object))
    try:
        found.parts["pairs"] = metrics.judge_pairs(
            np.stack([end.to_numpy() for end in ends], axis=1),
            table["log_odds"].to_numpy(),
            encode_labels(labels_that_judge(config.out, ids, group.identities)),
            sides=None if side is None else np.where(side == 0, -1, side > 0),
            apart=[encode_labels(one) for one in groups],
            names=ids.to_pylist(),
        )
    except InputError as error:
        found.notes.append(str(error))


def _stored_clusters(config: Config, groups: Sequence[Group]) -> dict[str, Clusters]:
    """The clusters of the output folder by species, and where they come from; none before `reid cluster`."""
    there = store.exists(store.join(config.out, outputs.CLUSTERS))
    if not there and "cluster" not in outputs.read_summary(config.out):
        say(f"note: {config.out} is not clustered yet; `reid cluster` does it")
        return {}
    everyone = [name for group in groups for name in group.rows["annotation_id"].to_pylist()]
    table = read_clusters(config.out, everyone)
    tuning = outputs.read_tuning(config.out, [group.species for group in groups])
    number = {name: i for i, name in enumerate(table["annotation_id"].to_pylist())}
    clusters = table["cluster"].to_numpy()
    found: dict[str, Clusters] = {}
    for group in groups:
        rows = [number[name] for name in group.rows["annotation_id"].to_pylist()]
        own = tuning[group.species]
        found[group.species] = clusters[rows], _source(own["eps"], own["note"])
    return found


def _own_clusters(config: Config, group: Group) -> tuple[np.ndarray, str]:
    one = cluster_group(config, group, {})
    return one.labels, _source(one.threshold.eps, one.threshold.note)


def _source(eps: float | None, note: str) -> str:
    return note if eps is None else f"threshold {eps:.3f}: {note}"


def show(found: dict[str, metrics.Evaluation]) -> None:
    """Print the evaluation of each species to stdout."""
    console = PlainConsole()
    for species, one in found.items():
        console.print()
        console.print(
            Text(printable(species), style="bold").append(
                f": {one.images:,} images, {one.labelled:,} of them labelled, "
                f"{one.individuals:,} individuals",
                style="not bold",
            )
        )
        for part in one.parts.values():
            console.print()
            console.print(Padding(Text(part.title, style="bold"), INDENT, expand=False))
            console.print(Padding(Text(part.how, style="dim"), INDENT, expand=False))
            console.print(Padding(_figure_table(part), INDENT, expand=False))
        for note in one.notes:
            console.print()
            console.print(Padding(Text(f"Note: {note}."), INDENT, expand=False))
    console.print()
    console.print(
        "In brackets: 95 % intervals, bootstrap over individuals. 1 is perfect; an ARI or AMI of 0 is no "
        "better than chance.",
        style="dim",
    )


def _figure_table(part: metrics.Part) -> Table:
    table = Table(
        Column(min_width=max(len(name) for name, _ in metrics.NAMES.values())),
        Column(justify="right"),
        Column(min_width=len("(0.000 – 0.000)")),
        Column(style="dim"),
        box=None,
        show_header=False,
        pad_edge=False,
    )
    for figure in part.figures.values():
        spread = "" if figure.low is None else f"({figure.low:.3f} – {figure.high:.3f})"
        table.add_row(figure.name, f"{figure.value:.3f}", spread, figure.meaning)
    return table
