"""A catalogue whose pairs are looked at closely: what it keeps of that, and edges by probability."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.common.console import say
from jobs.common.looked import LookedAt, LookStage
from jobs.common.pair_precision import pair_precision
from reid import schema
from reid.catalogue import SpeciesRules, open_catalogue, read_rules
from reid.config import Config, Pairs
from reid.errors import InputError
from reid.identify import Calibration, calibrate_links, edges_table
from reid.pairs import MATCHERS, fit_pairs, probability
from reid.pairs.classifier import PairModel, read_model, stored_model
from reid.pairs.matchers import tuned_matcher

# Where and how fast pairs are looked at, and how an output folder clusters them: nothing that an edge hangs on.
FREE = ("mode", "device", "workers", "runtime", "lone_probability")
RADIUS = 1.0  # 1 − P is never more


def compares_pairs(config: Config, before: SpeciesRules | None) -> bool:
    """Whether a species shall be, or go on being, compared by pairs.

    Raises:
        InputError: for `auto`, which has nothing to compare with here.
    """
    asked = config.pairs.mode
    if asked == "auto":
        raise InputError(
            "pairs.mode=auto: a catalogue is compared by one of the two; `reid run … pairs=auto` on labelled "
            "images says which is better"
        )
    if "mode" in config.pairs.model_fields_set:
        return asked == "on"
    return before is not None and before.pairs is not None


def check_same_look(config: Config, species: str, rules: SpeciesRules) -> None:
    """Refuse settings of pairs other than those that the catalogue was made with.

    Raises:
        InputError: with both values, and how to change them.
    """
    change = "leave it out, or change it for all of them: reid calibrate --catalogue …"
    if compares_pairs(config, rules) != (rules.pairs is not None):
        made = "by distances" if rules.pairs is None else "by pairs"
        raise InputError(
            f"pairs.mode={config.pairs.mode} for {species}, but this catalogue compares {made}; {change} "
            f"pairs={config.pairs.mode}"
        )
    for name in config.pairs.model_fields_set - {*FREE}:
        asked = config.pairs.model_dump(mode="json")[name]
        if (name, asked) == ("precision", "auto"):
            continue  # it was decided when the catalogue was made, on whatever machine that was
        if rules.pairs is not None and asked != rules.pairs["settings"].get(name, asked):
            raise InputError(
                f"pairs.{name}={asked} for {species}, but this catalogue was made with "
                f"{rules.pairs['settings'][name]}; {change} pairs.{name}={asked}"
            )


def look_settings(
    config: Config, encounters: str, viewpoints: str, before: SpeciesRules | None
) -> dict[str, Any]:
    """The settings of pairs that a catalogue keeps, as JSON values; what is not asked for as before.

    Raises:
        InputError: means of encounters, which no picture shows.
    """
    if encounters == "mean":
        raise InputError(
            "identify.encounters=mean: pairs compare pictures, and no picture shows a mean; take best"
        )
    kept = {} if before is None or before.pairs is None else dict(before.pairs["settings"])
    asked = config.pairs.model_dump(mode="json", exclude=set(FREE))
    own = {name: asked[name] for name in config.pairs.model_fields_set - {*FREE}}
    # Images of one encounter are one animal already where the rules say so. Two flanks share no spot
    # of a coat: that all views are compared by their vectors is no reason to match them.
    fixed = {"encounters": "together" if encounters == "best" else "off"}
    if viewpoints == "same-side":
        fixed["viewpoints"] = viewpoints
    settings = {**asked, **kept, **own, **fixed}
    # Nights may be on another machine than this one, and must compute in what is learned from here.
    return settings | {"precision": pair_precision(Pairs.model_validate(settings))[0]}


def learn_pairs(
    config: Config,
    species: str,
    settings: Mapping[str, Any],
    rows: pa.Table,
    vectors: NDArray[np.float32],
    look: LookStage,
) -> tuple[dict[str, Any], PairModel, LookedAt, NDArray[np.float64]]:
    """Look at the pairs of labelled annotations and learn from them.

    Returns:
        What `SpeciesRules.pairs` keeps; the model; the look; and log-odds of its pairs by models that had
        not seen them.
    """
    seen = look(_as_asked(config, settings), species, rows, vectors)
    model, log_odds = fit_pairs(seen.features, seen.people, seed=config.seed)
    say(f"pairs: {species}: {model.note}")
    kept = {"settings": dict(settings), "model": stored_model(model), "tuned": _tuned(settings)}
    return kept, model, seen, seen.with_cuts(log_odds)


def links_curve(
    config: Config, rows: pa.Table, seen: LookedAt, log_odds: NDArray[np.float64]
) -> Calibration:
    """How far the link that decides on an image can be trusted, on the scale 1 − P.

    Raises:
        InputError: too few labelled individuals.
    """
    who = dict(zip(rows["annotation_id"].to_pylist(), rows["identity"].to_pylist(), strict=True))
    names = sorted({who[one] for one in seen.ids} - {None})
    number = {name: place for place, name in enumerate(names)}
    label = np.array([number.get(who[one], -1) for one in seen.ids], np.int64)
    distance = 1 - probability(log_odds)
    own = (seen.people[:, 0] == seen.people[:, 1]) & (seen.people >= 0).all(axis=1)
    other = (seen.people[:, 0] != seen.people[:, 1]) & (seen.people >= 0).all(axis=1)
    links = np.full((2, len(seen.ids)), np.inf)
    for nearest, kind in zip(links, (own, other), strict=True):
        for side in (0, 1):
            np.minimum.at(nearest, seen.pairs[kind, side], distance[kind])
    same, different = links
    # A mate that the shortlist has missed: the stranger decides.
    missed = seen.has_mate & ~np.isfinite(same) & np.isfinite(different)
    same[missed] = np.nextafter(different[missed], np.inf)
    asked = np.flatnonzero(label >= 0)
    settings = config.identify
    return calibrate_links(
        same[asked],
        different[asked],
        label[asked],
        method=settings.calibration,
        new_share=settings.new_share,
        seed=config.seed,
    )


def pair_edges(
    config: Config,
    species: str,
    rules: SpeciesRules,
    rows: pa.Table,
    vectors: NDArray[np.float32],
    look: LookStage,
) -> pa.Table:
    """All edges (reid.identify.EDGES) of a species: the pairs of its shortlist, at 1 − P."""
    assert rules.pairs is not None
    if _tuned(rules.pairs["settings"]) != rules.pairs.get("tuned"):
        raise InputError(
            f"{species}: {rules.pairs['settings']['matcher']} holds other weights than this catalogue was made "
            "with; put them back, or take the new ones for all of it: reid calibrate --catalogue …"
        )
    config = _as_asked(config, rules.pairs["settings"])
    seen = look(config, species, rows.select(schema.ANNOTATIONS.names), vectors)
    if seen.without_pixels:
        say(
            f"warning: {species}: {seen.without_pixels:,} images have no picture to look at any more, and are "
            "compared with nobody"
        )
    order = np.argsort(np.asarray(seen.ids))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    pairs = np.sort(place[seen.pairs], axis=1)
    distances = (1 - probability(seen.log_odds(read_model(rules.pairs["model"])))).astype(
        np.float32
    )
    lines = np.lexsort((pairs[:, 1], pairs[:, 0]))
    ids = np.asarray(seen.ids, dtype=object)[order]
    return edges_table(species, ids, (pairs[lines].astype(np.int32), distances[lines]))


def _tuned(settings: Mapping[str, Any]) -> str | None:
    """Digest of a tuned matcher's weights; None for one of the known names."""
    matcher = settings.get("matcher", "patches")
    return None if matcher in MATCHERS else tuned_matcher(matcher)["digest"]


def settings_for_pages(config: Config, path: str) -> dict[str, Config]:
    """The configuration with which pairs of each species are looked at for a page; none: they are not.

    Args:
        config: the resolved configuration; with `pairs.mode=on` species that are compared by distance are
            looked at as it says.
        path: of the catalogue.
    """
    found = {}
    for species, rules in read_rules(open_catalogue(path)).items():
        if rules.pairs is not None:
            found[species] = _as_asked(config, rules.pairs["settings"])
        elif config.pairs.mode == "on":
            found[species] = config
    return found


def _as_asked(config: Config, settings: Mapping[str, Any]) -> Config:
    own = {name: getattr(config.pairs, name) for name in FREE}
    return config.model_copy(update={"pairs": Pairs.model_validate({**settings, **own})})
