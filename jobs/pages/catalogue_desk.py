"""A catalogue on which people decide: what it holds now, and each act as a run of its own."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa

from jobs.catalogue.admin import picture_names, remarkable
from jobs.catalogue.decider import Decider
from jobs.catalogue.sentences import in_words
from jobs.common.session import ray_session
from jobs.pages.acts import Scene
from jobs.pages.known import Known, locations, of_catalogue
from reid import schema
from reid.book import Animal, Origin, animals
from reid.catalogue import (
    Catalogue,
    embeddings_path,
    history,
    names_of_individuals,
    new_run_id,
    open_catalogue,
    read_events,
    read_graph,
    read_rules,
    undo,
    update,
)
from reid.config import Config
from reid.errors import InputError
from reid.review import Asked, Within, ask

QUESTIONS = 200


@dataclass(frozen=True, slots=True)
class Undoable:
    """The latest act, where it can be taken back."""

    run_id: str
    says: str


@dataclass(frozen=True)
class Held:
    """What pages are made of, as of one version.

    Attributes:
        version: changes with every act.
        frame: of `reid.exports.sightings.sightings`.
        origin: where it comes from.
        scene: individuals, by their ids and by their pictures.
        undoable: the latest act; None: there is none, or another run came after it.
    """

    version: str
    frame: pd.DataFrame
    origin: Origin
    scene: Scene
    undoable: Undoable | None

    @cached_property
    def animals(self) -> Mapping[str, Animal]:
        """identity_id → individual."""
        return self.scene.animals


class Desk(Protocol):
    """Whatever people decide on: a catalogue, or the results of a run."""

    def held(self) -> Held:
        """As it is now, whoever changed it."""

    def kept(self) -> Held:
        """As it was when somebody looked last: pictures stay what they are."""

    def decide(self, decisions: pa.Table, act: str) -> Sequence[str]:
        """Take decisions (IMPORT_SCHEMA) in; what they changed, in words."""

    def undo(self, run_id: str) -> None:
        """Take the latest act back."""

    def asked(self, within: Within) -> list[Asked]:
        """What is in doubt about these pictures, species by species."""


def held_of(known: Known, version: str, undoable: Undoable | None) -> Held:
    """Known as pages and acts need it."""
    found = animals(known.frame, said=known.said, near=known.near, history=known.history)
    owner = dict(zip(known.frame["annotation_id"], known.frame["identity_id"], strict=True))
    decisions = schema.DECISIONS.empty_table() if known.decisions is None else known.decisions
    return Held(version, known.frame, known.origin, Scene(found, owner, decisions), undoable)


class CatalogueDesk:
    """A catalogue. What it holds is read anew when somebody, here or elsewhere, has changed it."""

    def __init__(
        self, config: Config, path: str, *, deployments: str | None, date_order: str | None
    ) -> None:
        """Open it.

        Raises:
            InputError: there is none.
        """
        identify = config.identify.model_copy(update={"catalogue": path})
        inside = {"identify": identify, "store": embeddings_path(path)}
        self._config = config.model_copy(update=inside)
        self._path = path
        self._where = locations(deployments, date_order)
        self._lock = threading.RLock()
        self._held: Held | None = None
        open_catalogue(path)

    def held(self) -> Held:
        """As the catalogue is now."""
        with self._lock:
            catalogue = open_catalogue(self._path)
            if self._held is None or self._held.version != str(catalogue.version):
                known = of_catalogue(catalogue, self._where)
                self._held = held_of(known, str(catalogue.version), _latest_act(catalogue))
            return self._held

    def kept(self) -> Held:
        """As it was when somebody looked last."""
        return self._held or self.held()

    def decide(self, decisions: pa.Table, act: str) -> Sequence[str]:  # noqa: ARG002
        """One run of the catalogue, that `reid history` shows and `reid undo` takes back.

        Raises:
            InputError: they contradict others; the catalogue is as it was.
            StorageError: storage failed, or others were faster again and again.
        """
        with self._lock:
            run_id = new_run_id()
            nothing = schema.ANNOTATIONS.empty_table()
            decider = Decider(self._config, run_id, nothing, decisions=decisions, look=self._look)
            newer = update(
                open_catalogue(self._path), run_id, decider, attempts=self._config.identify.attempts
            )
            if newer.record.run_id != run_id:
                raise InputError("that was decided so already")
            decider.keep(newer)
            events = decider.outcome.events
            pictures = picture_names(newer, events)
            names = names_of_individuals(
                newer.rows(["annotation_id", "identity_id", "identity"]), newer.decisions()
            )
            return [in_words(event, pictures, names) for event in remarkable(events.to_pylist())][
                1:
            ]

    def undo(self, run_id: str) -> None:
        """Take the latest run back.

        Raises:
            InputError: it is not the latest any more.
        """
        with self._lock:
            undo(open_catalogue(self._path), run_id, new_run_id())

    def asked(self, within: Within) -> list[Asked]:
        """What is in doubt, species by species."""
        catalogue = open_catalogue(self._path)
        decisions = catalogue.decisions()
        return [
            ask(read_graph(catalogue, name), decisions, limit=QUESTIONS, within=within)
            for name in read_rules(catalogue)
        ]

    def _look(self, *arguments: Any, **named: Any) -> Any:
        """A closer look at pairs, where the catalogue compares by them: that alone needs Ray."""
        from jobs.pairs.look import look

        with ray_session(self._config.address):
            return look(*arguments, **named)


def _latest_act(catalogue: Catalogue) -> Undoable | None:
    """The latest run that holds, if people's decisions are all that it brought."""
    run = next(
        (run for run in history(catalogue) if run.action == "run" and run.undone_by is None), None
    )
    if run is None or run.rows_added or not run.counts.get("decisions"):
        return None
    events = read_events(catalogue).to_pylist()
    said = [
        one["reason"] for one in events if one["run_id"] == run.run_id and one["event"] == "decide"
    ]
    return Undoable(run.run_id, f"{said[0] if said else 'decisions'}, {run.time[11:16]} UTC")
