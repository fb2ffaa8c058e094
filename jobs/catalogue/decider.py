"""From a catalogue and an upload to what shall be committed: who is who, species by species."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.catalogue.admin import pictures_among
from jobs.catalogue.increments import Growth, compared_nodes
from jobs.catalogue.night_outcome import Outcome, SpeciesOutcome
from jobs.catalogue.night_verdict import judge_night
from jobs.catalogue.stored_vectors import read_vectors
from jobs.catalogue.thresholds import (
    Modes,
    NoRulesError,
    calibrate_event,
    check_asked,
    is_settled,
    make_rules,
    say_rules,
    settle_modes,
)
from jobs.common.console import say
from jobs.common.looked import LookStage
from jobs.common.verdicts import as_stored
from reid import schema
from reid.catalogue import (
    ROW_SCHEMA,
    Catalogue,
    Change,
    SpeciesRules,
    changed_rows,
    check_known,
    check_matches,
    compare,
    fresh_decisions,
    names_of_individuals,
    read_rules,
    rules_as_settings,
)
from reid.cluster import seen_once
from reid.config import Config
from reid.errors import StorageError
from reid.identify import Identified, identify_species, told_ids, without_contradicting_words
from reid.identify.remarks import OF_INDIVIDUALS, with_said_viewpoints
from reid.row_order import by_id

# As in a catalogue, but what is new has no identity yet.
STATE = pa.schema([one.with_nullable(True) for one in ROW_SCHEMA])


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
        """
        self.config, self.run_id = config, run_id
        self.annotations, self.decisions = annotations, decisions
        self.recipes, self.reset = recipes or {}, reset or {}
        self.emptied = emptied
        self.outcome = Outcome()
        self.look = look
        self._growth = Growth(config, run_id, look)

    def __call__(self, catalogue: Catalogue) -> Change | None:
        """What is to be committed on top of `catalogue`; None if there is nothing.

        Raises:
            InputError: decisions about unknown images, contradictions, settings that do not fit, no
                rules for any species.
            StorageError: another run has changed a recipe meanwhile.
        """
        rules = read_rules(catalogue)
        upload = set(pc.unique(self.annotations["species"]).to_pylist())
        check_asked(self.config, {name: rules[name] for name in upload & {*rules} - {*self.reset}})
        wanted = upload | {*self.reset}
        alone = wanted.issuperset(catalogue.counters)  # then there are no others to look for
        index = None if alone else catalogue.rows(["annotation_id", "species"])
        rows = catalogue.rows(species=sorted(wanted), stored=True) if index is None else None
        said, fresh, judged = self._decisions(catalogue, rows if index is None else index)
        if index is not None:
            named = pc.is_in(
                index["annotation_id"], self.annotations["annotation_id"].combine_chunks()
            )
            there = set(pc.unique(index.filter(named)["species"]).to_pylist())
            rows = catalogue.rows(species=sorted(wanted | there | judged), stored=True)
        incoming = compare(rows, with_said_viewpoints(self.annotations, said), self.emptied)
        self.outcome = Outcome(
            known_already=incoming.known,
            decisions=len(fresh),
            cleared=dict(incoming.cleared),
            failures=incoming.failures,
        )
        changed, events = [ROW_SCHEMA.empty_table()], [schema.CHANGES.empty_table()]
        if len(fresh):
            events.append(_decide_event(fresh))
        counters: dict[str, int] = {}
        individuals: dict[str, int] = {}
        settings = dict(rules)
        made: list[dict[str, Any]] = []
        happened: list[pa.Table] = []
        touched = _touched(incoming.new, incoming.updated, judged, self.reset)
        refused: dict[str, NoRulesError] = {}
        for name in touched:
            before, new, updated = (
                _of(table, name) for table in (rows, incoming.new, incoming.updated)
            )
            was = rules.get(name)
            if len(before) + len(new):
                try:
                    settings[name], row_changes, found = self._identify(
                        catalogue, name, was, before, new, updated, said
                    )
                except NoRulesError as error:
                    refused[name] = error
                    continue
                changed.append(row_changes)
                counters[name] = found.next_number - 1
                individuals[name] = found.individuals
                happened.append(found.changes)
            else:
                settings[name] = self.reset[name]
            if settings[name] is not was:
                made.append(calibrate_event(name, settings[name], was))
        if refused and {*touched, *upload} == {*refused}:
            raise next(iter(refused.values()))
        self.outcome.failures = pa.concat_tables(
            [incoming.failures, _without_rules(incoming.new, refused)]
        )
        events += [pa.Table.from_pylist(made, schema=schema.CHANGES), *happened]
        self.outcome.events = pa.concat_tables(events)
        all_changed = pa.concat_tables(changed)
        if not len(all_changed) and not len(self.outcome.events):
            return None
        return Change(
            rows=all_changed,
            events=self.outcome.events,
            counters=counters,
            decisions=self.decisions,
            settings=rules_as_settings(settings) if made else None,
            counts=_counts(self.outcome),
            edges=self._growth.written,
            individuals=individuals,
            verdicts={name: as_stored(one) for name, one in self.outcome.verdicts.items()},
        )

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
        catalogue: Catalogue,
        name: str,
        was: SpeciesRules | None,
        before: pa.Table,
        new: pa.Table,
        updated: pa.Table,
        said: pa.Table,
    ) -> tuple[SpeciesRules, pa.Table, Identified]:
        """Rules, changed rows and events of one species."""
        began = time.perf_counter()
        rows = with_said_viewpoints(_with_upload(before, new, updated), said)
        rules = self.reset.get(name, was)
        embedded = self.recipes.get(name)
        if rules is not None and len(new) and embedded not in (None, rules.recipe):
            raise StorageError(
                f"{name}: its images were embedded as {embedded}, and another run has meanwhile "
                f"changed the catalogue to {rules.recipe}; run the same command again, with that model"
            )
        asked = self.config.identify.rules(name)
        if rules is None:
            modes = settle_modes(asked, rows, said)
        elif is_settled(rules):
            modes = Modes(rules.encounters, rules.viewpoints)
        else:  # calibrated before there was any image; single images are compared in any case
            modes = settle_modes(asked, rows, said, rules)
            rules = replace(rules, encounters=modes.encounters, viewpoints=modes.viewpoints)
            say_rules(name, rules, modes)
        rows, notes = without_contradicting_words(rows, said, encounters=modes.encounters)
        vectors = None
        if rules is None:
            vectors = read_vectors(catalogue.path, self.recipes[name], rows)
            rules = make_rules(
                self.config, name, self.recipes[name], rows, vectors, modes, look=self.look
            )
            say_rules(name, rules, modes)
        settled = was if was is not None and is_settled(was) else None
        compared = compared_nodes(catalogue, settled, rules, before)
        told = None
        # Where pairs are looked at, shortlists are drawn up anew over all images: any edge may be another.
        alone = rules.pairs is None and catalogue.version == catalogue.record_version
        if rules is was and settled and not notes and alone:
            if name in catalogue.record.individuals:
                told = told_ids(before, updated)
            elif len(before):
                notes.append(
                    f"the catalogue is of an earlier version of this software, and was carried over: all "
                    f"{len(before):,} images were looked at, once"
                )
        searching = time.perf_counter()
        edges, found = self._growth.grow(catalogue, name, rules, rows, said, compared, vectors)
        search_seconds = time.perf_counter() - searching
        result = identify_species(
            name,
            rows,
            edges,
            said,
            known_distance=rules.known_distance,
            new_distance=rules.new_distance,
            radius=rules.radius,
            next_number=catalogue.counters.get(name, 0) + 1,
            calibration=rules.calibration,
            encounters=rules.encounters,
            viewpoints=rules.viewpoints,
            run_id=self.run_id,
            told=told,
        )
        for column in result.rows.column_names[1:]:
            rows = rows.set_column(rows.schema.get_field_index(column), column, result.rows[column])
        rows = _without_moving(rows)
        outcome = _outcome(rows, before, new, updated, result, found)
        outcome.search_seconds = round(search_seconds, 2)
        outcome.decide_seconds = round(time.perf_counter() - began - search_seconds, 2)
        self.outcome.species[name] = outcome
        self.outcome.verdicts[name] = judge_night(
            catalogue.path,
            rules,
            rows,
            result,
            catalogue.record.verdicts.get(name) if rules is was else None,
            seed=self.config.seed,
        )
        say(
            f"identify: {name}: {outcome.known:,} known, {outcome.new:,} new, {outcome.unsure:,} unsure; "
            f"{outcome.individuals_before:,} → {outcome.individuals:,} individuals, {outcome.seen_once:,} of them seen once, {outcome.merges} merges, "
            f"{outcome.splits} splits ({time.perf_counter() - began:.1f} s)"
        )
        self.outcome.pictures |= pictures_among(rows, result.changes)
        self.outcome.names |= names_of_individuals(rows, said)
        outcome.notes[:0] = notes
        for note in outcome.notes:
            say(f"note: {name}: {note}")
        changed = rows.cast(ROW_SCHEMA)
        if told is not None:  # no others can be: less to compare
            own = said["a_id"].filter(pc.equal(said["run_id"], self.run_id))  # may say a viewpoint
            ids = pa.chunked_array([*updated["annotation_id"].chunks, *own.chunks], pa.string())
            named = pc.is_in(rows["annotation_id"], value_set=ids)
            changed = changed.filter(pc.or_(named, pa.array(result.changed)))
        return rules, changed_rows(before, changed), result


def _without_moving(rows: pa.Table) -> pa.Table:
    """Unsure rows without a confidence, which is made of their distance whenever it is read."""
    unsure = pc.equal(rows["decision"], "unsure")
    place, kind = rows.schema.get_field_index("confidence"), rows.schema.field("confidence")
    sure = pc.if_else(unsure, pa.scalar(None, kind.type), rows["confidence"])
    return rows.set_column(place, kind, sure)


def _touched(
    new: pa.Table, updated: pa.Table, judged: set[str], reset: Mapping[str, SpeciesRules]
) -> list[str]:
    uploaded = pa.chunked_array(new["species"].chunks + updated["species"].chunks, pa.string())
    return sorted({*pc.unique(uploaded).to_pylist(), *judged, *reset})


def _without_rules(new: pa.Table, refused: Mapping[str, NoRulesError]) -> pa.Table:
    """schema.FAILURES: one species that cannot be judged does not hold up the others."""
    rows = [
        {**row, "stage": "identify", "error": str(error)}
        for name, error in refused.items()
        for row in _of(new, name).to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=schema.FAILURES)


def _of(rows: pa.Table, species: str) -> pa.Table:
    return rows.filter(pc.equal(rows["species"], species))


def _with_upload(before: pa.Table, new: pa.Table, updated: pa.Table) -> pa.Table:
    """STATE of all rows of a species, sorted by annotation_id."""
    known = before.select(STATE.names).cast(STATE)
    ids = updated["annotation_id"].combine_chunks()
    place = pc.index_in(ids, value_set=known["annotation_id"].combine_chunks())
    was = known.take(place)
    again = pa.table(
        [updated[one.name] if one.name in schema.ANNOTATIONS.names else was[one.name] for one in STATE],
        schema=STATE,
    )  # fmt: skip
    fresh = pa.table(
        [
            new[one.name] if one.name in schema.ANNOTATIONS.names else pa.nulls(len(new), one.type)
            for one in STATE
        ],
        schema=STATE,
    )
    same = known.filter(pc.invert(pc.is_in(known["annotation_id"], ids))) if len(ids) else known
    return by_id(pa.concat_tables([same, again, fresh]))[0].combine_chunks()


def _outcome(
    rows: pa.Table,
    before: pa.Table,
    new: pa.Table,
    updated: pa.Table,
    result: Identified,
    edges: int,
) -> SpeciesOutcome:
    arrived = rows.filter(pc.is_in(rows["annotation_id"], new["annotation_id"].combine_chunks()))
    decided = arrived["decision"].to_pylist()
    kinds = result.changes["event"].to_pylist()
    return SpeciesOutcome(
        images=len(rows),
        individuals=result.individuals,
        seen_once=seen_once(rows["identity_id"], rows["encounter_id"]),
        individuals_before=pc.count_distinct(before["identity_id"]).as_py(),
        **{name: decided.count(name) for name in ("known", "new", "unsure")},
        updated=len(updated),
        merges=kinds.count("merge"),
        splits=kinds.count("split"),
        edges=edges,
        looked_at=result.looked_at,
        notes=result.notes,
    )


def _decide_event(fresh: pa.Table) -> pa.Table:
    kinds = fresh["decision"].to_pylist()
    said = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    who = ", ".join(sorted(set(fresh["reviewer"].to_pylist())))
    event = dict.fromkeys(schema.CHANGES.names) | {
        "event": "decide",
        "other_ids": [],
        "reason": f"{said}; by {who}",
        "rows": len(fresh),
    }
    return pa.Table.from_pylist([event], schema=schema.CHANGES)


def _counts(outcome: Outcome) -> dict[str, int]:
    names = ("known", "new", "unsure", "merges", "splits", "updated")
    total = {name: sum(getattr(one, name) for one in outcome.species.values()) for name in names}
    return total | {"decisions": outcome.decisions, "failed": len(outcome.failures)}
