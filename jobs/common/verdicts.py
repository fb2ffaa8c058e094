"""What runs and nights have in common where they end with a verdict."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jobs.common.console import say
from reid import store
from reid.catalogue import Catalogue
from reid.errors import InputError
from reid.verdict import LEVELS, Verdict

FIGURE_DIGITS = 6


def general_of(folder: str) -> str | None:
    """What to know of the model that made the embeddings in a folder, where it was not made for individuals."""
    from reid.models import general_purpose  # not for commands that repeat a verdict alone

    try:
        recipe = store.read_json(store.join(folder, "recipe.json"))
        return general_purpose([model["name"] for model in recipe["models"]])
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, InputError):
        return None  # anybody's embeddings, or of a model that has no such name here


def worst_of(species: Mapping[str, Verdict]) -> dict[str, Any]:
    """The worst level of some species, at least one, and `sentences_of` them."""
    worst = max(species.values(), key=lambda one: LEVELS.index(one.level))
    return {"level": worst.level, "sentences": sentences_of(species)}


def sentences_of(species: Mapping[str, Verdict]) -> list[str]:
    """A sentence for each species, with its name where there are several."""
    several = len(species) > 1
    return [f"{name}: {one.sentence}" if several else one.sentence for name, one in species.items()]


def as_stored(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a catalogue keeps it, in JSON values."""
    # Delta's log reads longer fractions back a little off, and the record has a digest.
    figures = {name: round(float(value), FIGURE_DIGITS) for name, value in verdict.figures.items()}
    return asdict(verdict) | {"figures": figures}


def stored_verdicts(catalogue: Catalogue) -> dict[str, Verdict]:
    """The verdict on each species of a catalogue, of the run that looked at it last; in order of their names.

    Species that no run has looked at since verdicts are kept are not in it.
    """
    return {name: Verdict(**one) for name, one in sorted(catalogue.record.verdicts.items())}


def run_verdicts(summary: Mapping[str, Any]) -> dict[str, Verdict]:
    """The verdict on each species of a run, of its summary.json; not of one that an earlier version clustered."""
    species = summary.get("cluster", {}).get("species", {})
    return {name: Verdict(**one["verdict"]) for name, one in species.items() if "verdict" in one}


def is_doubted(species: Mapping[str, Verdict]) -> bool:
    """Whether any of them is `not usable`."""
    return any(one.level == "not usable" for one in species.values())


def say_verdicts(species: Mapping[str, Verdict]) -> None:
    """The last lines of a run: a verdict each."""
    for sentence in sentences_of(species):
        say(f"verdict: {sentence}")
