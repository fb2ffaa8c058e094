"""The neighbour graph of a catalogue grows: what nobody has compared yet, against all."""

import time
from collections.abc import Hashable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.catalogue.closer_look import pair_edges
from jobs.common.console import say
from jobs.common.looked import LookStage
from jobs.neighbours.incremental import new_edges
from reid import embeddings, store
from reid.catalogue import (
    Catalogue,
    SpeciesRules,
    comparable_edges,
    edges_place,
    holding_runs,
    node_sides,
    read_edges_by,
    write_edge_part,
)
from reid.config import Config
from reid.errors import InputError
from reid.identify import Nodes, edges_table, pool, species_nodes


class Growth:
    """Searches what is new, and remembers it for when another run gets in between."""

    def __init__(self, config: Config, run_id: str, look: LookStage | None = None) -> None:
        """Take what the search is done with, the run that will have found the edges, and the stage of pairs."""
        self.config, self.run_id, self.look = config, run_id, look
        self._parts = 0
        self.written: dict[str, tuple[int, str]] = {}  # parts of all rounds, for `Change.edges`
        # How a species was searched (`_searched_by`) → nodes that were, and all that they were against
        self._searched: dict[Hashable, tuple[set[Hashable], set[Hashable]]] = {}

    def grow(
        self,
        catalogue: Catalogue,
        species: str,
        rules: SpeciesRules,
        rows: pa.Table,
        decisions: pa.Table,
        compared: set[Hashable],
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
            reid.identify.EDGES, and how many this call has found.

        Raises:
            InputError: embeddings are missing.
        """
        nodes = species_nodes(rows, decisions, encounters=rules.encounters)
        shown = node_sides(rows, nodes, rules.viewpoints)
        keys = _keys(nodes, shown)
        everyone, fresh = set(keys), set(keys) - compared
        how = (species, *_searched_by(rules))
        mine, against = self._searched.get(how, (set(), set()))
        done = against if fresh <= mine else set()
        rest = everyone - fresh - done
        found = 0
        if fresh and not (fresh <= done and not rest):
            if vectors is None:
                vectors = read_vectors(catalogue.path, rules.recipe, rows)
            if rules.pairs is not None:
                found = self._look(catalogue.path, species, rules, rows, vectors)
            else:
                places = [
                    np.flatnonzero(np.fromiter((key in group for key in keys), np.bool_, len(keys)))
                    for group in (rest, fresh)
                ]
                found = self._search(
                    catalogue.path, species, rules, nodes, shown, pool(vectors, nodes), *places
                )
            self._searched[how] = (fresh, everyone)
        runs = {self.run_id: self.written, **holding_runs(catalogue)}
        edges = read_edges_by(rules, catalogue.path, species, runs)
        return comparable_edges(edges, nodes, shown), found

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
        vectors: NDArray[np.float32],
        rest: NDArray[np.int64],
        fresh: NDArray[np.int64],
    ) -> int:
        """Search the nodes `fresh` against the nodes `rest` and themselves; the edges found."""
        began = time.perf_counter()
        order = np.concatenate([rest, fresh])
        ids = nodes.ids[order]
        total = 0
        for part in new_edges(
            self.config,
            species,
            vectors[order],
            len(rest),
            rules.radius,
            shown=None if shown is None else shown[order],
        ):
            if len(part[0]):
                table = edges_table(species, ids, part)
                self.written |= write_edge_part(
                    path, species, rules.edges_recipe, self.run_id, self._parts, table
                )
                self._parts += 1
                total += len(part[0])
        say(
            f"search: {species}: {len(fresh):,} new × {len(ids):,}, {total:,} pairs within "
            f"{rules.radius:.3f} written ({time.perf_counter() - began:.1f} s)"
        )
        return total


def compared_nodes(
    catalogue: Catalogue, was: SpeciesRules, rules: SpeciesRules, before: pa.Table
) -> set[Hashable]:
    """Nodes of the catalogue among which all pairs are known already, under these rules.

    Args:
        catalogue: its decisions shape the nodes too.
        was: the rules under which the pairs were found.
        rules: those that hold now.
        before: schema.CATALOGUE, the species' rows, sorted by annotation_id.
    """
    if (
        was.edges_recipe != rules.edges_recipe
        or was.radius < rules.radius
        or was.viewpoints != rules.viewpoints
    ):
        return set()
    nodes = species_nodes(before, catalogue.decisions(), encounters=was.encounters)
    return set(_keys(nodes, node_sides(before, nodes, was.viewpoints)))


def read_vectors(path: str, recipe: str, rows: pa.Table) -> NDArray[np.float32]:
    """The embeddings of rows of a catalogue: (n, d) float32, unit rows.

    Args:
        path: of the catalogue.
        recipe: folder name of the embeddings.
        rows: columns annotation_id and source_key.

    Raises:
        InputError: some are missing, or are of other pictures.
    """
    folder = store.join(path, "embeddings", recipe)
    found = embeddings.read_embeddings(folder, rows["annotation_id"].combine_chunks())
    if len(found.found) < len(rows):
        raise InputError(
            f"{folder}: {len(rows) - len(found.found):,} of {len(rows):,} images have no embedding "
            "here any more; restore the folder, or embed them again with `reid calibrate`"
        )
    keys = np.asarray(rows["source_key"].to_pylist(), dtype=object)
    others = int((keys != found.source_keys).sum())
    if others:
        raise InputError(
            f"{folder}: {others:,} embeddings are of other pictures than the catalogue's, which have "
            "the same names; give these other names, and embed the catalogue's again with "
            "`reid calibrate`"
        )
    return found.vectors


def _searched_by(rules: SpeciesRules) -> tuple[str, float, str]:
    """A search under other rules has seen other pairs."""
    return rules.edges_recipe, rules.radius, rules.viewpoints


def _keys(nodes: Nodes, shown: NDArray[np.int8] | None) -> list[Hashable]:
    """A node that shows another side than before has not been compared as what it is."""
    if shown is None:
        return list(nodes.ids)
    return list(zip(nodes.ids, shown.tolist(), strict=True))
