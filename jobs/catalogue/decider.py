"""From a catalogue and an upload to what shall be committed: who is who, species by species."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.catalogue.admin import pictures_among
from jobs.catalogue.increments import Growth
from jobs.catalogue.near_night import near_night
from jobs.catalogue.night_outcome import Outcome, counts_of, decide_event
from jobs.catalogue.night_verdict import judge_night
from jobs.catalogue.species_night import SpeciesNight
from jobs.catalogue.thresholds import (
    NoRulesError,
    calibrate_event,
    check_asked,
)
from jobs.catalogue.upload_rows import left_without_rules, of_species
from jobs.catalogue.whole_night import whole_night
from jobs.common.console import say
from jobs.common.looked import LookStage
from jobs.common.verdicts import as_stored
from reid import schema
from reid.catalogue import (
    ROW_SCHEMA,
    Catalogue,
    Change,
    SpeciesRules,
    StoredRows,
    check_known,
    check_matches,
    compare,
    fresh_decisions,
    names_of_individuals,
    read_rules,
    rules_as_settings,
)
from reid.catalogue.commits import rows_of_run
from reid.catalogue.known_rows import write_known
from reid.catalogue.seals import sealed_after
from reid.config import Config
from reid.errors import StorageError
from reid.identify.remarks import OF_INDIVIDUALS, with_said_viewpoints


class Decider:
    """Decides anew for each state of the catalogue that it is shown; remembers what it has searched.

    Call it with a catalogue, as `reid.catalogue.update` does; `outcome` then says what came out.
    """

    def __init__(
        self,
        config: Config,
        run_id: str,
        annotations: pa.Table,
        *,
        decisions: pa.Table | None = None,
        recipes: Mapping[str, str] | None = None,
        reset: Mapping[str, SpeciesRules] | None = None,
        emptied: Mapping[str, pa.Array] | None = None,
        look: LookStage | None = None,
        stored: StoredRows | None = None,
    ) -> None:
        """Take what there is to decide about.

        Args:
            config: the resolved configuration.
            run_id: of this run.
            annotations: schema.ANNOTATIONS of the upload; those that are new are embedded.
            decisions: what `read_decisions` returns.
            recipes: species → recipe folder, of what was embedded.
            reset: rules that replace the catalogue's.
            emptied: of `reid.catalogue.compare`: labels that the upload says are none.
            look: the stage that looks at pairs closely.
            stored: the rows of a version that were read already.
        """
        self.config, self.run_id = config, run_id
        self.annotations, self.decisions = annotations, decisions
        self.recipes, self.reset = recipes or {}, reset or {}
        self.emptied = emptied
        self.outcome = Outcome()
        self.look = look
        self._stored = stored
        self._growth = Growth(config, run_id, look)
        # Of the round that committed: the version it was built on, and the species with what came out
        self._decided: tuple[Catalogue, dict[str, tuple[SpeciesRules, SpeciesNight]]] | None = None

    def __call__(self, catalogue: Catalogue) -> Change | None:
        """What is to be committed on top of `catalogue`; None if there is nothing.

        Raises:
            InputError: decisions about unknown images, contradictions, settings that do not fit, no
                rules for any species.
            StorageError: another run has changed a recipe meanwhile.
        """
        nights: dict[str, tuple[SpeciesRules, SpeciesNight]] = {}
        self._decided = catalogue, nights
        rules = read_rules(catalogue)
        upload = set(pc.unique(self.annotations["species"]).to_pylist())
        check_asked(self.config, {name: rules[name] for name in upload & {*rules} - {*self.reset}})
        stored = self._rows_of(catalogue)
        rows = stored.about(self.annotations, _named(self.decisions))
        said, fresh, judged = self._decisions(catalogue, rows)
        incoming = compare(rows, with_said_viewpoints(self.annotations, said), self.emptied)
        self.outcome = Outcome(
            known_already=incoming.known,
            decisions=len(fresh),
            cleared=dict(incoming.cleared),
            failures=incoming.failures,
        )
        events = [schema.CHANGES.empty_table()]
        if len(fresh):
            events.append(decide_event(fresh))
        counters: dict[str, int] = {}
        individuals: dict[str, int] = {}
        settings = dict(rules)
        made: list[dict[str, Any]] = []
        happened: list[pa.Table] = []
        touched = _touched(incoming.new, incoming.updated, judged, self.reset)
        refused: dict[str, NoRulesError] = {}
        for name in touched:
            new, updated = (of_species(table, name) for table in (incoming.new, incoming.updated))
            was = rules.get(name)
            if stored.count(name) + len(new):
                try:
                    settings[name], night = self._identify(stored, name, was, new, updated, said)
                except NoRulesError as error:
                    refused[name] = error
                    continue
                nights[name] = settings[name], night
                counters[name] = night.result.next_number - 1
                individuals[name] = night.result.individuals
                happened.append(night.result.changes)
            else:
                settings[name] = self.reset[name]
            if settings[name] is not was:
                made.append(calibrate_event(name, settings[name], was))
        if refused and {*touched, *upload} == {*refused}:
            raise next(iter(refused.values()))
        self.outcome.failures = pa.concat_tables(
            [incoming.failures, left_without_rules(incoming.new, refused)]
        )
        events += [pa.Table.from_pylist(made, schema=schema.CHANGES), *happened]
        self.outcome.events = pa.concat_tables(events)
        changed = pa.concat_tables(
            [ROW_SCHEMA.empty_table(), *(night.changed for _, night in nights.values())]
        )
        if not len(changed) and not len(self.outcome.events):
            return None
        return Change(
            rows=changed,
            was=pa.concat_tables(
                [schema.CATALOGUE.empty_table(), *(night.was for _, night in nights.values())]
            ),
            events=self.outcome.events,
            counters=counters,
            decisions=self.decisions,
            settings=rules_as_settings(settings) if made else None,
            counts=counts_of(self.outcome),
            edges=self._growth.written,
            individuals=individuals,
            verdicts={name: as_stored(one) for name, one in self.outcome.verdicts.items()},
        )

    def _rows_of(self, catalogue: Catalogue) -> StoredRows:
        if self._stored is not None:
            before = self._stored.catalogue
            # Where it was sealed since, nobody has compared what was read with the seal.
            if (before.version, before.seal) == (catalogue.version, catalogue.seal):
                return self._stored
        self._stored = StoredRows(catalogue)
        return self._stored

    def keep(self, catalogue: Catalogue) -> None:
        """Once this run has committed: write for the next one what it has at hand of large species.

        All of it can be made again, so where storage takes no more the run goes on, and says so.

        Args:
            catalogue: of `update`.
        """
        if catalogue.record.run_id != self.run_id or self._decided is None:
            return
        before, nights = self._decided
        for species, (rules, night) in nights.items():
            if night.keep is None:
                continue
            committed = rows_of_run(night.changed, self.run_id).cast(schema.CATALOGUE)
            if not _is_sealed(species, before, night.was, committed, catalogue):
                continue
            with _as_far_as_it_goes():
                write = partial(night.keep, committed)
                write_known(catalogue, species, rules, write, night.ids_among)

    def _decisions(
        self, catalogue: Catalogue, index: pa.Table
    ) -> tuple[pa.Table, pa.Table, set[str]]:
        """All decisions, those that are new, and the species that the new ones are about."""
        stored = catalogue.decisions()
        if self.decisions is None:
            return stored, stored[:0], set()
        fresh = fresh_decisions(stored, self.decisions, self.run_id)
        columns = ["annotation_id", "species"]
        # Where both name an image the catalogue is right, and the upload's fails.
        is_known = pc.is_in(self.annotations["annotation_id"], index["annotation_id"])
        uploaded = self.annotations.filter(pc.invert(is_known))
        everyone = pa.concat_tables([index.select(columns), uploaded.select(columns)])
        check_known(fresh, everyone["annotation_id"])
        ends = pa.chunked_array(fresh["a_id"].chunks + fresh["b_id"].chunks, pa.string())
        judged = everyone.filter(pc.is_in(everyone["annotation_id"], ends.combine_chunks()))
        check_matches(fresh, judged)
        # A name moves nobody.
        only_said = pc.is_in(fresh["decision"], pa.array([*OF_INDIVIDUALS, "profile"]))
        moving = fresh.filter(pc.invert(only_said))
        ends = pa.chunked_array(moving["a_id"].chunks + moving["b_id"].chunks, pa.string())
        judged = judged.filter(pc.is_in(judged["annotation_id"], ends.combine_chunks()))
        species = set(pc.unique(judged["species"]).to_pylist())
        return pa.concat_tables([stored, fresh]), fresh, species

    def _identify(
        self,
        stored: StoredRows,
        name: str,
        was: SpeciesRules | None,
        new: pa.Table,
        updated: pa.Table,
        said: pa.Table,
    ) -> tuple[SpeciesRules, SpeciesNight]:
        """Rules of one species, and who is who in it."""
        began = time.perf_counter()
        catalogue = stored.catalogue
        rules = self.reset.get(name, was)
        embedded = self.recipes.get(name)
        if rules is not None and len(new) and embedded not in (None, rules.recipe):
            raise StorageError(
                f"{name}: its images were embedded as {embedded}, and another run has meanwhile "
                f"changed the catalogue to {rules.recipe}; run the same command again, with that model"
            )
        night = None
        if rules is not None and rules is was:
            known = stored.known(name)
            night = near_night(self._growth, catalogue, name, rules, known, new, updated, said)
        if night is None or rules is None:
            before = stored.of(name)
            rules, night = whole_night(
                self._growth, catalogue, name, was, rules, embedded, before, new, updated, said
            )
        outcome = night.outcome
        outcome.decide_seconds = round(time.perf_counter() - began - outcome.search_seconds, 2)
        self.outcome.species[name] = outcome
        self.outcome.verdicts[name] = judge_night(
            catalogue.path,
            rules,
            night.some_rows,
            night.by_rising_id,
            night.who,
            night.unaided,
            catalogue.record.verdicts.get(name) if rules is was else None,
            seed=self.config.seed,
        )
        say(
            f"identify: {name}: {outcome.known:,} known, {outcome.new:,} new, {outcome.unsure:,} unsure; "
            f"{outcome.individuals_before:,} → {outcome.individuals:,} individuals, {outcome.seen_once:,} of them seen once, {outcome.merges} merges, "
            f"{outcome.splits} splits ({time.perf_counter() - began:.1f} s)"
        )
        self.outcome.pictures |= pictures_among(night.rows, night.result.changes)
        self.outcome.names |= names_of_individuals(night.rows, said)
        for note in outcome.notes:
            say(f"note: {name}: {note}")
        return rules, night


def _named(decisions: pa.Table | None) -> pa.ChunkedArray:
    """The ids that decisions name."""
    ends = [] if decisions is None else [*decisions["a_id"].chunks, *decisions["b_id"].chunks]
    return pa.chunked_array(ends, pa.string())


def _is_sealed(
    species: str, before: Catalogue, was: pa.Table, committed: pa.Table, catalogue: Catalogue
) -> bool:
    """Are the rows of a species those that were meant, by the seals of before and after a commit?"""
    if catalogue.seal is None or (before.seal is None and before.version > 0):
        return False
    meant = sealed_after(
        {} if before.seal is None else before.seal.species, species, was, committed
    )
    there = catalogue.seal.species.get(species)
    return (
        meant is not None
        and there is not None
        and (meant[0], {**meant[1]}) == (there[0], {**there[1]})
    )


@contextmanager
def _as_far_as_it_goes() -> Iterator[None]:
    """What fails here is not needed: a full disk, a file that somebody has open."""
    try:
        yield
    except (StorageError, OSError) as error:
        say(f"note: this run is committed, and the next one will take longer: {error}")


def _touched(
    new: pa.Table, updated: pa.Table, judged: set[str], reset: Mapping[str, SpeciesRules]
) -> list[str]:
    uploaded = pa.chunked_array(new["species"].chunks + updated["species"].chunks, pa.string())
    return sorted({*pc.unique(uploaded).to_pylist(), *judged, *reset})
