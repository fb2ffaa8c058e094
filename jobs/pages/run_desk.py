"""The results of a run on which people decide: the decisions lie beside its tables, which follow at once."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.cluster.clustering import cluster_labels, write_clusters
from jobs.cluster.decided import reviewable_run, summarise, with_fresh
from jobs.cluster.groups import read_clusters, read_groups
from jobs.common import outputs
from jobs.common.console import say
from jobs.pages.acts import in_short
from jobs.pages.catalogue_desk import QUESTIONS, Held, Undoable, held_of
from jobs.pages.known import read_known
from reid import cluster as clustering
from reid import schema, store
from reid.config import Config
from reid.errors import InputError
from reid.identify.decided_clusters import decided_clusters
from reid.identify.remarks import with_said_viewpoints
from reid.review import Asked, Within, ask
from reid.value_digests import whole_digest


class RunDesk:
    """An output folder of `reid run`. One server at a time decides on it: a run has no history of commits."""

    def __init__(
        self, config: Config, out: str, *, deployments: str | None, date_order: str | None
    ) -> None:
        """Read its embeddings.

        Raises:
            InputError: nothing was clustered there.
        """
        self._config = config.model_copy(update={"out": out})
        self._out = out
        self._where = {"deployments": deployments, "date_order": date_order}
        self._lock = threading.RLock()
        self._held: Held | None = None
        self._groups = read_groups(out)

    def held(self) -> Held:
        """As the folder is now."""
        with self._lock:
            decisions = outputs.read_run_decisions(self._out)
            files = outputs.stage_files(self._out, "cluster")
            version = f"{whole_digest(decisions)[:16]}-{files.get(outputs.CLUSTERS, '')[:16]}"
            if self._held is None or self._held.version != version:
                known = read_known(None, self._out, **self._where)
                self._held = held_of(known, version, _latest(decisions))
            return self._held

    def kept(self) -> Held:
        """As it was when somebody looked last."""
        return self._held or self.held()

    def decide(self, decisions: pa.Table, act: str) -> Sequence[str]:
        """Keep decisions, and let the clusters follow; in words what became of them.

        Raises:
            InputError: they contradict others; nothing was changed.
        """
        with self._lock:
            stored = outputs.read_run_decisions(self._out)
            whole = with_fresh(stored, decisions, self._groups)
            if len(whole) == len(stored):
                raise InputError("that was decided so already")
            before, after = self._apply(whole)
        told = f"{before:,} individuals are {after:,} now" if before != after else "kept"
        return [f"{in_short(act, decisions)}: {told}"]

    def undo(self, run_id: str) -> None:
        """Forget the decisions of the latest act.

        Raises:
            InputError: another came after it.
        """
        with self._lock:
            stored = outputs.read_run_decisions(self._out)
            latest = _latest(stored)
            if latest is None or latest.run_id != run_id:
                raise InputError(
                    "another act came after it: reload the page, and take that back first"
                )
            self._apply(stored.filter(pc.not_equal(stored["run_id"], run_id)))

    def asked(self, within: Within) -> list[Asked]:
        """What is in doubt, species by species."""
        about = reviewable_run(self._out)
        return [
            ask(about.graph(name), about.decisions, limit=QUESTIONS, within=within)
            for name in about.species
        ]

    def _apply(self, decisions: pa.Table) -> tuple[int, int]:
        """Write decisions, then the tables that follow from them; individuals before and after."""
        ids = [one for group in self._groups for one in group.rows["annotation_id"].to_pylist()]
        clusters = schema.conform(read_clusters(self._out, ids), schema.CLUSTERS)
        words = clustering.species_words(group.species for group in self._groups)
        summary = dict(outputs.read_summary(self._out)["cluster"])
        species = dict(summary["species"])
        tables = []
        for group in self._groups:
            place = pc.index_in(group.rows["annotation_id"], value_set=clusters["annotation_id"])
            own = clusters.take(place)
            found = pc.coalesce(own["found_cluster"], own["cluster"])
            labels = decided_clusters(
                group.rows, found.to_numpy().astype(np.int64), group.vectors, decisions
            )
            columns = {
                "cluster": pa.array(labels, pa.int64()),
                "cluster_label": cluster_labels(words[group.species], labels),
                "found_cluster": found,
            }
            for name, values in columns.items():
                field = schema.CLUSTERS.get_field_index(name)
                own = own.set_column(field, schema.CLUSTERS.field(name), values)
            tables.append(own)
            species[group.species] = summarise(species[group.species], group, labels)
        # Contradictions are known by now: from here on everything is written.
        store.write_table(store.join(self._out, outputs.DECISIONS), decisions)
        self._groups = [
            replace(group, rows=with_said_viewpoints(group.rows, decisions))
            for group in self._groups
        ]
        write_clusters(self._config, self._groups, tables)
        before = int(summary["individuals"])
        summary["species"] = species
        for name in ("individuals", "singletons", "seen_once"):
            summary[name] = sum(one[name] for one in species.values())
        outputs.write_summary(self._config, "cluster", summary)
        if outputs.set_aside(self._out, outputs.REPORT):
            say(
                f"note: {outputs.REPORT} shows the clusters of before, and is now {outputs.OUTDATED}{outputs.REPORT}"
            )
        return before, int(summary["individuals"])


def _latest(decisions: pa.Table) -> Undoable | None:
    """The latest act on a run: ids of acts begin with their time."""
    if not len(decisions):
        return None
    run_id = max(decisions["run_id"].to_pylist())
    own = decisions.filter(pc.equal(decisions["run_id"], run_id))
    kinds = own["decision"].to_pylist()
    said = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(kinds))
    moment = own["timestamp"][0].as_py()
    return Undoable(run_id, f"{said}; by {own['reviewer'][0].as_py()}, {moment:%H:%M} UTC")
