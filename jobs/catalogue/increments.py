"""The neighbour graph of a catalogue grows: what nobody has compared yet, against all."""

import time
from collections.abc import Hashable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.catalogue.closer_look import pair_edges
from jobs.catalogue.stored_vectors import Shard, read_vectors, shards_of
from jobs.common.console import say
from jobs.common.looked import LookStage
from jobs.neighbours.incremental import new_edges
from reid import store
from reid.catalogue import (
    Catalogue,
    SpeciesRules,
    edges_place,
    holding_runs,
    node_sides,
    read_edges_by,
    write_edge_part,
)
from reid.config import Config
from reid.identify import Nodes, coded_edges_table, graph_nodes
from reid.neighbors.edge_arrays import Edges, join_edges
from reid.vector_places import VectorPlaces

# Each part has its own list of ids, so few large ones are read faster; 200 MB in memory.
EDGES_A_PART = 2**24


class Growth:
    """Searches what is new, and remembers it for when another run gets in between."""

    def __init__(self, config: Config, run_id: str, look: LookStage | None = None) -> None:
        """Take what the search is done with, the run that will have found the edges, and the stage of pairs."""
        self.config, self.run_id, self.look = config, run_id, look
        self._parts = 0
        self.written: dict[str, tuple[int, str]] = {}  # parts of all rounds, for `Change.edges`
        # How a species was searched (`_searched_by`) → nodes that were, and all that they were against
        self._searched: dict[Hashable, tuple[pa.StringArray, pa.StringArray]] = {}

    def has_grown(self, species: str, rules: SpeciesRules) -> bool:
        """Has this run found edges of a species already, in a round that another run has overtaken?"""
        place = edges_place(species, rules.edges_recipe)
        return any(name.rpartition("/")[0] == place for name in self.written)

    def grow(
        self,
        catalogue: Catalogue,
        species: str,
        rules: SpeciesRules,
        rows: pa.Table,
        decisions: pa.Table,
        compared: pa.StringArray,
        vectors: NDArray[np.float32] | None = None,
    ) -> tuple[pa.Table, int]:
        """All edges of a species, once what was not compared yet has been.

        Args:
            catalogue: where edges are read, and written for this run.
            species: its name.
            rules: recipe, radius, encounters and viewpoints.
            rows: schema.ANNOTATIONS, sorted by annotation_id, known and new.
            decisions: schema.DECISIONS.
            compared: of `compared_nodes`.
            vectors: of the rows, where they were read already.

        Returns:
            reid.identify.EDGES, among them some that joined a left and a right before one knew; and how many
            this call has found.

        Raises:
            InputError: embeddings are missing.
        """
        nodes = graph_nodes(rows, decisions, encounters=rules.encounters)
        shown = node_sides(rows, nodes, rules.viewpoints)
        keys = _keys(nodes, shown)
        fresh = ~_among(keys, compared)
        how = (species, *_searched_by(rules))
        mine, against = self._searched.get(how, (_NOBODY, _NOBODY))
        new = keys.filter(pa.array(fresh))
        done = _among(keys, against) if _among(new, mine).all() else np.zeros(len(keys), np.bool_)
        rest = ~fresh & ~done
        found = 0
        if fresh.any() and not (done[fresh].all() and not rest.any()):
            path = catalogue.path
            if rules.pairs is not None:
                if vectors is None:
                    vectors = read_vectors(path, rules.recipe, rows)
                found = self._look(path, species, rules, rows, vectors)
            else:
                shards = shards_of(path, rules, rows, nodes, rest, fresh, vectors)
                found = self._search(path, species, rules, nodes, shown, shards)
            self._searched[how] = (new, keys)
        runs = {self.run_id: self.written, **holding_runs(catalogue)}
        return read_edges_by(rules, catalogue.path, species, runs), found

    def search_new(
        self,
        catalogue: Catalogue,
        species: str,
        rules: SpeciesRules,
        rows: pa.Table,
        new_from: int,
        places: VectorPlaces | None,
    ) -> Edges:
        """Search new rows against all, where a node is a row and all others have met; write what is found.

        Args:
            catalogue, species, rules: as in `grow`.
            rows: columns annotation_id, viewpoint and, where places are not known, source_key; the known ones,
                then the new ones.
            new_from: the number of the first new row.
            places: of the rows' vectors; None: they are looked for.

        Returns:
            Edges between the numbers of rows, the smaller one first.

        Raises:
            InputError: embeddings are missing.
        """
        n = len(rows)
        each = np.arange(n)
        ids = rows["annotation_id"].combine_chunks()
        nodes = Nodes(ids, each, each, np.full(n, -1, np.int64), [])
        shown = node_sides(rows, nodes, rules.viewpoints)
        fresh = each >= new_from
        shards = shards_of(catalogue.path, rules, rows, nodes, ~fresh, fresh, None, places)
        found: list[Edges] = []
        self._search(catalogue.path, species, rules, nodes, shown, shards, found)
        keys = _keys(nodes, shown)
        self._searched[(species, *_searched_by(rules))] = (keys[new_from:], keys)
        pairs, distances = join_edges(found)
        return np.sort(pairs, axis=1), distances

    def _look(
        self,
        path: str,
        species: str,
        rules: SpeciesRules,
        rows: pa.Table,
        vectors: NDArray[np.float32],
    ) -> int:
        """Look at the pairs of all rows; what was looked at before is read back. The edges found."""
        began = time.perf_counter()
        assert self.look is not None
        table = pair_edges(self.config, species, rules, rows, vectors, self.look)
        place = edges_place(species, rules.edges_recipe)
        for name in [one for one in self.written if one.rpartition("/")[0] == place]:
            # Of an earlier round of this run: the new part holds all.
            del self.written[name]
            store.remove(store.join(path, "edges", name))
        self.written |= write_edge_part(
            path, species, rules.edges_recipe, self.run_id, self._parts, table
        )
        self._parts += 1
        say(
            f"search: {species}: {len(table):,} pairs of {len(rows):,} images looked at and written "
            f"({time.perf_counter() - began:.1f} s)"
        )
        return len(table)

    def _search(
        self,
        path: str,
        species: str,
        rules: SpeciesRules,
        nodes: Nodes,
        shown: NDArray[np.int8] | None,
        shards: Iterator[Shard],
        kept: list[Edges] | None = None,
    ) -> int:
        """Search the fresh nodes of each shard against its other nodes, and once themselves; the edges found.

        They come into `kept` too, where that is given.
        """
        began = time.perf_counter()
        total = compared = 0
        held: list[Edges] = []

        def write() -> None:
            table = coded_edges_table(species, nodes.ids, join_edges(held))
            if kept is not None:
                kept.extend(held)
            held.clear()
            self.written |= write_edge_part(
                path, species, rules.edges_recipe, self.run_id, self._parts, table
            )
            self._parts += 1

        for number, shard in enumerate(shards):
            size = len(shard.order)
            compared += shard.fresh_from
            for edges, distances in new_edges(
                self.config,
                species,
                shard.vectors,
                shard.fresh_from,
                rules.radius,
                shown=None if shown is None else shown[shard.order],
            ):
                # Among themselves the fresh ones have met in the first shard.
                new = np.flatnonzero(edges[:, 0] < (shard.fresh_from if number else size))
                held.append((shard.order[edges[new]].astype(np.int32), distances[new]))
                total += len(new)
                if sum(len(part) for part, _ in held) >= EDGES_A_PART:
                    write()
        if sum(len(part) for part, _ in held):
            write()
        fresh = size - shard.fresh_from
        say(
            f"search: {species}: {fresh:,} new × {compared + fresh:,}, {total:,} pairs within "
            f"{rules.radius:.3f} written ({time.perf_counter() - began:.1f} s)"
        )
        return total


def compared_nodes(
    catalogue: Catalogue, was: SpeciesRules | None, rules: SpeciesRules, before: pa.Table
) -> pa.StringArray:
    """Nodes of the catalogue among which all pairs are known already, under these rules.

    Args:
        catalogue: its decisions shape the nodes too.
        was: the rules under which the pairs were found; None: there were none.
        rules: those that hold now.
        before: schema.CATALOGUE, the species' rows, sorted by annotation_id.
    """
    if (
        was is None
        or was.edges_recipe != rules.edges_recipe
        or was.radius < rules.radius
        or was.viewpoints != rules.viewpoints
    ):
        return _NOBODY
    nodes = graph_nodes(before, catalogue.decisions(), encounters=was.encounters)
    return _keys(nodes, node_sides(before, nodes, was.viewpoints))


def _searched_by(rules: SpeciesRules) -> tuple[str, float, str]:
    """A search under other rules has seen other pairs."""
    return rules.edges_recipe, rules.radius, rules.viewpoints


_NOBODY = pa.array([], pa.string())


def _keys(nodes: Nodes, shown: NDArray[np.int8] | None) -> pa.StringArray:
    """A node that shows another side than before has not been compared as what it is."""
    if shown is None:
        return nodes.ids
    return pc.binary_join_element_wise(nodes.ids, pa.array(shown).cast(pa.string()), "\n")


def _among(keys: pa.StringArray, others: pa.StringArray) -> NDArray[np.bool_]:
    among: NDArray[np.bool_] = pc.is_in(keys, value_set=others).to_numpy(zero_copy_only=False)
    return among
