"""The rules by which a catalogue tells individuals apart, species by species."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reid.catalogue.state import Catalogue
from reid.identify import Calibration


@dataclass(frozen=True)
class SpeciesRules:
    """How a species is identified. They hold from its first upload on, until somebody resets them.

    Attributes:
        recipe: folder name of the embeddings that are compared.
        known_distance, new_distance: see `reid.identify.identify_species`.
        radius: to which neighbours are recorded.
        encounters: off | best | mean.
        viewpoints: compare-all | same-side.
        source: where the distances come from, in words.
        calibration: distance → probability of "same individual"; None without labels.
        pairs: settings and model by which pairs are looked at closely (JSON values): a distance is then
            1 − P(same individual); None: distances are those of the embeddings.
    """

    recipe: str
    known_distance: float
    new_distance: float
    radius: float
    encounters: str
    viewpoints: str
    source: str
    calibration: Calibration | None = None
    pairs: Mapping[str, Any] | None = None

    @property
    def edges_recipe(self) -> str:
        """Name of the folder of the edges: that of the embeddings, and how pairs are looked at."""
        if self.pairs is None:
            return self.recipe
        digest = hashlib.sha256(json.dumps(self.pairs, sort_keys=True).encode()).hexdigest()
        return f"{self.recipe}+pairs-{digest[:12]}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON keeps it; `SpeciesRules.from_dict` reads it to the bit."""
        curve = None if self.calibration is None else self.calibration.as_dict()
        kept = {**{name: getattr(self, name) for name in _PLAIN}, "calibration": curve}
        return kept if self.pairs is None else {**kept, "pairs": dict(self.pairs)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "SpeciesRules":
        """Of `as_dict`."""
        curve = stored["calibration"]
        return cls(
            **{name: stored[name] for name in _PLAIN},
            calibration=None if curve is None else Calibration.from_dict(curve),
            pairs=stored.get("pairs"),
        )


_PLAIN = tuple(
    name for name in SpeciesRules.__dataclass_fields__ if name not in ("calibration", "pairs")
)


def read_rules(catalogue: Catalogue) -> dict[str, SpeciesRules]:
    """The rules of every species that the catalogue has met."""
    stored = catalogue.settings.get("species", {})
    return {name: SpeciesRules.from_dict(stored[name]) for name in sorted(stored)}


def rules_as_settings(rules: Mapping[str, SpeciesRules]) -> dict[str, Any]:
    """Rules as `Change.settings` wants them; `read_rules` reads them back."""
    return {"species": {name: one.as_dict() for name, one in sorted(rules.items())}}
