"""What people can be asked about: a catalogue, or the output folder of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from reid.catalogue import SpeciesGraph


@dataclass(frozen=True, slots=True)
class Reviewable:
    """Pictures, who is taken for whom, and what people have said so far.

    Attributes:
        place: folder or URI.
        described: what it is, for messages: `version 3 of lynx`.
        version: of the catalogue; 0 of a run.
        key: equal for pages whose decisions belong together.
        command: what takes decisions in.
        species: that there are.
        graph: the graph of a species.
        decisions: schema.DECISIONS.
        table: of species, schema.ANNOTATIONS and identity_id.
        names: identity_id → what people call the individual.
        doubted: the verdict on some species is `not usable`.
    """

    place: str
    described: str
    version: int
    key: str
    command: str
    species: Sequence[str]
    graph: Callable[[str], SpeciesGraph]
    decisions: pa.Table
    table: Callable[[Sequence[str]], pa.Table]
    names: Callable[[pa.Table], Mapping[str, str]]
    doubted: bool = False
