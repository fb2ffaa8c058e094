"""What people decided of the pictures of a run: kept in its output folder, and applied to its clusters."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.cluster.groups import Group, read_clusters, read_groups
from jobs.common import outputs
from jobs.common.console import say
from jobs.common.reviewable import Reviewable
from jobs.common.verdicts import is_doubted, run_verdicts
from reid import cluster as clustering
from reid import store
from reid.catalogue import (
    SpeciesGraph,
    SpeciesRules,
    check_known,
    check_matches,
    fresh_decisions,
    names_of_individuals,
    new_run_id,
    read_decisions,
)
from reid.config import Config
from reid.identify import edges_table
from reid.identify.decided_clusters import decided_clusters
from reid.neighbors import radius_graph
from reid.tune import Individuals

WIDER = 1.5  # how far beyond the threshold pairs are asked about
WIDEST = 1.9


def take_in(config: Config, groups: Sequence[Group]) -> pa.Table:
    """The decisions of the folder, and of the files that this command was given; `keep` then keeps them.

    Raises:
        InputError: a file cannot be used, names unknown pictures, or joins two species.
    """
    stored = outputs.read_run_decisions(config.out)
    files = config.identify.constraints
    if not files:
        return stored
    notes: list[str] = []
    said = pa.concat_tables([read_decisions(file, notes) for file in files])
    for note in notes:
        say(f"note: {note}")
    whole = with_fresh(stored, said, groups)
    say(
        f"decisions: {len(said):,} read from {', '.join(files)}, {len(whole) - len(stored):,} of them new"
    )
    return whole


def keep(config: Config, decisions: pa.Table) -> None:
    """Write decisions down, where there are any: they hold in every later run of this folder."""
    if len(decisions):
        store.write_table(store.join(config.out, outputs.DECISIONS), decisions)


def with_fresh(stored: pa.Table, said: pa.Table, groups: Sequence[Group]) -> pa.Table:
    """Decisions with those that are new among what was said.

    Raises:
        InputError: they are about unknown pictures, or join two species.
    """
    fresh = fresh_decisions(stored, said, new_run_id())
    columns = ["annotation_id", "species"]
    rows = pa.concat_tables([group.rows.select(columns) for group in groups])
    check_known(fresh, rows["annotation_id"])
    ends = pa.chunked_array(fresh["a_id"].chunks + fresh["b_id"].chunks, pa.string())
    check_matches(fresh, rows.filter(pc.is_in(rows["annotation_id"], ends.combine_chunks())))
    return pa.concat_tables([stored, fresh])


def with_decisions(group: Group, found: Individuals, decisions: pa.Table) -> Individuals:
    """The individuals of a species as people decided.

    Raises:
        ContradictionError: the decisions contradict each other.
    """
    labels = decided_clusters(group.rows, found.labels, group.vectors, decisions)
    before, after = (
        len(np.unique(clustering.noise_to_singletons(one))) for one in (found.labels, labels)
    )
    if labels is not found.labels:
        say(
            f"decisions: {group.species}: what people decided holds; {before:,} individuals are {after:,}"
        )
    return replace(found, labels=labels)


def run_graph(
    group: Group, identities: Sequence[str], eps: float | None, near: np.ndarray
) -> SpeciesGraph:
    """A species of a run as a graph of what people can be asked about.

    Args:
        group: its rows and vectors.
        identities: what each row is taken for.
        eps: the threshold of its clusters; None: they have none, and half of the rows have a neighbour nearer than
            what is taken for it.
        near: (n,) distance to the nearest other row.
    """
    known = float(np.nanmedian(near)) if eps is None else eps
    known = min(max(known, 1e-6), WIDEST / WIDER)
    new = known * WIDER
    graph = radius_graph(group.vectors, new)
    ids = group.rows["annotation_id"].to_pylist()
    rows = group.rows.append_column("identity_id", pa.array(identities, pa.string()))
    rules = SpeciesRules("", known, new, new, "off", "compare-all", "the run")
    edges = edges_table(group.species, ids, (graph.edges, graph.distances))
    return SpeciesGraph(group.species, rows, edges, rules)


def reviewable_run(out: str) -> Reviewable:
    """The output folder of a run, to be asked about.

    Raises:
        InputError: nothing was clustered there.
    """
    groups = {group.species: group for group in read_groups(out)}
    ids = [one for group in groups.values() for one in group.rows["annotation_id"].to_pylist()]
    clusters = read_clusters(out, ids)
    who = dict(
        zip(
            clusters["annotation_id"].to_pylist(),
            clusters["cluster_label"].to_pylist(),
            strict=True,
        )
    )
    near = dict(
        zip(
            clusters["annotation_id"].to_pylist(),
            clusters["nearest_distance"].to_pylist(),
            strict=True,
        )
    )
    tuning = outputs.read_tuning(out, groups)
    decisions = outputs.read_run_decisions(out)

    def graph(name: str) -> SpeciesGraph:
        group = groups[name]
        own = group.rows["annotation_id"].to_pylist()
        distances = np.asarray([np.nan if near[one] is None else near[one] for one in own])
        return run_graph(group, [who[one] for one in own], tuning[name]["eps"], distances)

    def table(species: Sequence[str]) -> pa.Table:
        parts = []
        for name in species:
            rows = groups[name].rows
            own = pa.array([who[one] for one in rows["annotation_id"].to_pylist()], pa.string())
            parts.append(rows.append_column("identity_id", own))
        return pa.concat_tables(parts)

    digest = outputs.stage_files(out, "cluster").get(outputs.CLUSTERS, "")
    return Reviewable(
        place=out,
        described=f"the clusters of {out}",
        version=0,
        key=f"{out}@{digest[:16]}",
        command=f"reid cluster --out {shlex.quote(out)} --constraints constraints.csv",
        species=sorted(groups),
        graph=graph,
        decisions=decisions,
        table=table,
        names=lambda rows: names_of_individuals(rows, decisions),
        doubted=is_doubted(run_verdicts(outputs.read_summary(out))),
    )


def summarise(species: Mapping[str, Any], group: Group, labels: np.ndarray) -> dict[str, Any]:
    """A species' part of the summary with the sizes of other clusters."""
    # Of a cluster that was joined to another one the number is free.
    _, sizes = np.unique(clustering.noise_to_singletons(labels), return_counts=True)
    return {
        **species,
        "images": len(group.rows),
        "individuals": len(sizes),
        "singletons": int((sizes == 1).sum()),
        "seen_once": clustering.seen_once(
            clustering.noise_to_singletons(labels), group.rows["encounter_id"]
        ),
        "largest": int(sizes.max()),
    }
