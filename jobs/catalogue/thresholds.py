"""Which rules hold for a species: those of the catalogue, given ones, or learned from labels."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.catalogue.closer_look import (
    RADIUS,
    check_same_look,
    compares_pairs,
    learn_pairs,
    links_curve,
    look_settings,
)
from jobs.common.beforehand import most_labelled
from jobs.common.console import say
from jobs.common.looked import LookStage
from jobs.neighbours.placement import search_of
from reid import schema
from reid.catalogue import SpeciesRules, node_sides
from reid.config import Config, Rules
from reid.errors import InputError
from reid.identify import Calibration, calibrate, pool, species_nodes, thresholds
from reid.identify.calibration import FEWEST_INDIVIDUALS
from reid.identify.default_rules import default_encounters, default_viewpoints
from reid.tune import Clustering, find_individuals

AUTO = "auto"
# Without labels nothing says how far "another individual" begins.
ESTIMATED_MARGIN = 1.25


class Modes(NamedTuple):
    """What is taken as one animal, and what is compared (`reid.catalogue.SpeciesRules`); why, in words."""

    encounters: str
    viewpoints: str
    reasons: tuple[str, ...] = ()


class NoRulesError(InputError):
    """A species has no rules, and the images at hand do not say which."""

    def __init__(self, species: str, error: InputError, *, estimated: bool = False) -> None:
        """Take the species, why its rules cannot be learned, and whether they could not be guessed either."""
        super().__init__(
            f"{species}: the catalogue has no rules for it yet, and they cannot be "
            f"{'guessed' if estimated else 'learned'} from these images ({error}). Either learn them from "
            "labelled ones: `reid calibrate --input labelled.csv --catalogue …`; or give distances: "
            "identify.known_distance=… identify.new_distance=…, for example those of `reid run` on the same "
            "images"
            + ("" if estimated else "; or let them be guessed, for good: identify.estimate=true")
        )


def check_asked(config: Config, rules: Mapping[str, SpeciesRules]) -> None:
    """Refuse settings that contradict the catalogue's.

    Raises:
        InputError: with both values, and how they are changed.
    """
    for species, own in rules.items():
        wanted = config.identify.rules(species)
        for name, value in wanted.model_dump(exclude_none=True).items():
            held = getattr(own, name)
            enough = name == "radius" and value <= held
            if AUTO not in (value, held) and value != held and not enough:
                raise InputError(
                    f"identify.{name}={value} for {species}, but this catalogue was made with "
                    f"{held}, and all its individuals follow from that; leave it out, or change it "
                    f"for all of them: reid calibrate --catalogue … identify.{name}={value}"
                )
        check_same_look(config, species, own)


def settle_modes(
    wanted: Rules, rows: pa.Table, decisions: pa.Table, before: SpeciesRules | None = None
) -> Modes:
    """Encounters and viewpoints as asked for; where that is `auto`, by what the images have.

    Args:
        wanted: what was asked for, of one species.
        rows: schema.ANNOTATIONS, the catalogue's images; without any `auto` waits for the first.
        decisions: schema.DECISIONS.
        before: what nobody asked for stays as it was here.
    """
    reasons = []
    encounters = wanted.encounters or (before.encounters if before else AUTO)
    viewpoints = wanted.viewpoints or (before.viewpoints if before else AUTO)
    if encounters == AUTO and len(rows):
        encounters, why = default_encounters(rows, decisions)
        reasons.append(f"identify.encounters={encounters}: {why}")
    if viewpoints == AUTO and len(rows):
        viewpoints, why = default_viewpoints(rows)
        reasons.append(f"identify.viewpoints={viewpoints}: {why}")
    return Modes(encounters, viewpoints, tuple(reasons))


def is_settled(rules: SpeciesRules) -> bool:
    """Whether nothing in the rules waits for the first images."""
    return AUTO not in (rules.encounters, rules.viewpoints)


def say_rules(species: str, rules: SpeciesRules, modes: Modes) -> None:
    """Say what holds for a species from now on, and why."""
    say(
        f"rules: {species}: known up to {rules.known_distance:.3f}, new beyond {rules.new_distance:.3f}; "
        f"{rules.source}"
    )
    for reason in modes.reasons:
        say(f"rules: {species}: {reason}")
    say(f"rules: {species}: kept in the catalogue from now on; `reid calibrate` changes them")


def check_can_have_rules(
    config: Config, annotations: pa.Table, rules: Mapping[str, SpeciesRules]
) -> None:
    """Refuse an upload of which no species has rules or can have any, before its images are embedded.

    Args:
        config: `identify` holds what was asked for.
        annotations: schema.ANNOTATIONS of the upload.
        rules: those of the catalogue.

    Raises:
        InputError: settings that contradict the catalogue's.
        NoRulesError: no distances were given, and there are too few labels to learn them.
    """
    species = sorted(pc.unique(annotations["species"]).to_pylist())
    check_asked(config, {name: rules[name] for name in species if name in rules})
    for name in species:
        labelled = most_labelled(annotations, name)
        asked = config.identify.rules(name)
        given = asked.known_distance is not None or config.identify.estimate
        if name in rules or given or labelled >= FEWEST_INDIVIDUALS:
            return
    if species:
        few = InputError(
            f"{labelled:,} individuals are labelled in two images; at least {FEWEST_INDIVIDUALS} are needed"
        )
        raise NoRulesError(species[-1], few)


def make_rules(
    config: Config,
    species: str,
    recipe: str,
    rows: pa.Table,
    vectors: NDArray[np.float32],
    modes: Modes,
    before: SpeciesRules | None = None,
    look: LookStage | None = None,
) -> SpeciesRules:
    """Rules for a species that has none yet, or new ones.

    Args:
        config: `identify` holds what was asked for.
        species: its name.
        recipe: folder name of the embeddings.
        rows: schema.ANNOTATIONS of the images at hand, labelled or not.
        vectors: (n, d) float32, unit rows, of these rows.
        modes: of `settle_modes`.
        before: what was not asked for stays as it was here, but for the distances; and the curve,
            where these are given and there are no labels.
        look: the stage that looks at pairs closely, where the configuration wants that.

    Raises:
        NoRulesError: no distances were given, and the labels do not suffice to learn them.
    """
    settings = config.identify
    wanted = settings.rules(species)
    known, new, curve = wanted.known_distance, wanted.new_distance, None
    encounters, viewpoints, _ = modes
    learn: Callable[[], Calibration] = partial(
        _calibrated, config, rows, vectors, encounters, viewpoints
    )
    kept = None
    if compares_pairs(config, before):
        assert look is not None
        own = look_settings(config, encounters, viewpoints, before)
        kept, model, seen, log_odds = learn_pairs(config, species, own, rows, vectors, look)
        learn = partial(links_curve, config, rows, seen, log_odds)
    if known is not None and new is not None:
        try:  # for the confidences, which need no curve that reaches the wanted probabilities
            curve = learn()
            source = f"given; confidences from {in_words(curve)}"
        except InputError as error:
            compared = (recipe, encounters, viewpoints, kept)
            held = before and (before.recipe, before.encounters, before.viewpoints, before.pairs)
            if before and compared == held:
                curve = before.calibration  # of the same distances
            source = f"given; no {'new ' if curve else ''}confidences ({error})"
    else:
        try:
            curve = learn()
            known, new = thresholds(curve, settings.known_probability, settings.new_probability)
            source = in_words(curve)
        except InputError as error:
            if not settings.estimate or kept is not None:
                raise NoRulesError(species, error) from error
            try:
                known, new, source = _estimated(config, vectors)
            except InputError as failed:
                raise NoRulesError(species, failed, estimated=True) from failed
    if kept is not None:
        source = f"P(same) of pairs ({model.kind}: {model.note}); {source}"
    return SpeciesRules(
        recipe=recipe,
        known_distance=known,
        new_distance=new,
        # Never smaller than before: what is recorded already costs nothing.
        radius=max(
            new,
            wanted.radius or 0.0,
            before.radius if before and (before.pairs is None) == (kept is None) else 0.0,
            0.0 if kept is None else RADIUS,
        ),
        encounters=encounters,
        viewpoints=viewpoints,
        source=source,
        calibration=curve,
        pairs=kept,
    )


def in_words(curve: Calibration) -> str:
    """What a calibration was learned from, and how well."""
    return (
        f"{curve.samples:,} links of {curve.individuals:,} labelled individuals ({curve.method}, "
        f"expected calibration error {curve.ece:.3f})"
    )


def calibrate_event(
    species: str, rules: SpeciesRules, before: SpeciesRules | None
) -> dict[str, Any]:
    """A row of schema.CHANGES: rules were set, or reset."""
    words = (
        f"encounters {rules.encounters}, viewpoints {rules.viewpoints}, known up to "
        f"{rules.known_distance:.4g}, new beyond {rules.new_distance:.4g}"
    )
    if before is not None:
        words += f" (before: {before.known_distance:.4g} and {before.new_distance:.4g})"
    event = dict.fromkeys(schema.CHANGES.names)
    samples = rules.calibration.samples if rules.calibration else 0
    return event | {
        "event": "calibrate",
        "species": species,
        "other_ids": [],
        "reason": f"{words}; {rules.source}",
        "rows": samples,
    }


def _calibrated(
    config: Config,
    rows: pa.Table,
    vectors: NDArray[np.float32],
    encounters: str,
    viewpoints: str,
) -> Calibration:
    # What will be compared: images, or means of encounters. What is not settled yet compares images.
    encounters = "off" if encounters == AUTO else encounters
    viewpoints = "compare-all" if viewpoints == AUTO else viewpoints
    nodes = species_nodes(rows, schema.DECISIONS.empty_table(), encounters=encounters)
    order = pc.sort_indices(rows["annotation_id"])
    shown = node_sides(rows.take(order), nodes, viewpoints)
    columns = ["root", "image_path", "identity", "encounter_id"]
    frame = rows.take(order).select(columns).to_pandas().iloc[nodes.first]
    settings = config.identify
    return calibrate(
        pool(vectors[order.to_numpy()], nodes),
        _numbers(frame["identity"]),
        sides=shown,
        encounters=_numbers(frame["encounter_id"]),
        images=_numbers(frame["root"] + "\n" + frame["image_path"]),
        method=settings.calibration,
        new_share=settings.new_share,
        seed=config.seed,
    )


def _estimated(config: Config, vectors: NDArray[np.float32]) -> tuple[float, float, str]:
    nobody = np.full(len(vectors), None, dtype=object)
    wanted = Clustering(method="dbscan", seed=config.seed)
    found = find_individuals(vectors, nobody, wanted, search=search_of(config)).threshold
    known = float(found.eps or 0)
    if not 0 < known < 2 / ESTIMATED_MARGIN:
        raise InputError(
            f"{len(vectors):,} image{'s' if len(vectors) > 1 else ''}: the estimated distance is {known:g}, which "
            "tells nobody apart"
        )
    return known, ESTIMATED_MARGIN * known, f"estimated without labels: {found.note}"


def _numbers(words: "pd.Series[str]") -> NDArray[np.int64]:
    return pd.factorize(words)[0].astype(np.int64)
