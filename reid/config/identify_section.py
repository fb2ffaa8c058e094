"""The section of the catalogue of individuals."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from reid.config.sections import Count, Section

Distance = Annotated[float, Field(gt=0, lt=1.9)]
Encounters = Literal["auto", "off", "best", "mean"]
Viewpoints = Literal["auto", "compare-all", "same-side"]


class Rules(Section):
    """How one species is identified; what is not set is taken from `identify`.

    A catalogue keeps the rules with which a species came into it, so a nightly command may leave
    them out. `reid calibrate` changes them; `auto` is settled by the first upload, and by calibrate
    where it is asked for there.
    """

    known_distance: Distance | None = Field(
        None, description="Up to this cosine distance two images show one individual"
    )
    new_distance: Distance | None = Field(
        None, description="An image that is further from all others shows a new individual"
    )
    radius: Distance | None = Field(
        None, description="How far neighbours are recorded; default: new_distance"
    )
    encounters: Encounters | None = Field(
        None,
        description="off: ignore encounters; best, mean: an encounter is one animal, compared by its "
        "best pair or its mean view; auto, the default: best where most images of the first upload are in "
        "encounters that show one animal each",
    )
    viewpoints: Viewpoints | None = Field(
        None,
        description="same-side: left is never compared with right; auto, the default: compare-all, which "
        "was measured to find more",
    )

    @field_validator("encounters", mode="before")
    @classmethod
    def _yaml_off(cls, value: Any) -> Any:
        return "off" if value is False else value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        known, new = self.known_distance, self.new_distance
        if (known is None) != (new is None):
            raise ValueError(
                "known_distance and new_distance belong together; between them an image is unsure"
            )
        if known is not None and new is not None:
            if known > new:
                raise ValueError(
                    f"known_distance {known:g} is more than new_distance {new:g}; what is nearer than "
                    "the first is known, what is further than the second is new"
                )
            if self.radius is not None and self.radius < new:
                raise ValueError(
                    f"radius {self.radius:g} is less than new_distance {new:g}: neighbours that "
                    "decide would be missed"
                )
        return self


class Identify(Rules):
    """From new images to known, new and unsure individuals."""

    catalogue: str | None = Field(None, description="Folder or URI of the catalogue")
    constraints: list[str] = Field(
        default_factory=list, description="CSV files of reviewers' decisions"
    )
    per_species: dict[str, Rules] = Field(default_factory=dict, description="Rules by species")

    # Where no distances are given they come from labelled images.
    calibration: Literal["auto", "isotonic", "logistic"] = Field(
        "auto", description="Curve from distance to probability; auto: the better on held-out ones"
    )
    known_probability: float = Field(
        0.9, gt=0, lt=1, description="known_distance is where P(same individual) falls below this"
    )
    new_probability: float = Field(
        0.1, gt=0, lt=1, description="new_distance is where P(same individual) falls below this"
    )
    new_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of arriving images that show an individual not yet known",
    )
    estimate: bool = Field(
        False, description="No labels, no distances: estimate them from the first upload"
    )
    same_box_iou: float = Field(
        0.7,
        gt=0,
        le=1,
        description="A box of a known image that overlaps a known box so far (intersection over union) is "
        "that annotation, moved",
    )
    attempts: Count = Field(5, description="Tries to commit when other runs are faster")

    @field_validator("constraints", mode="before")
    @classmethod
    def _one_file(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _probabilities_in_order(self) -> Self:
        if self.new_probability >= self.known_probability:
            raise ValueError(
                f"identify.new_probability {self.new_probability:g} is not below "
                f"identify.known_probability {self.known_probability:g}"
            )
        for species in self.per_species:
            self.rules(species)  # its own mixed with the common ones must fit together too
        return self

    def rules(self, species: str) -> Rules:
        """What was asked for `species`, its own rules before the common ones."""
        own = self.per_species.get(species, Rules())
        return Rules(
            **{
                name: getattr(self, name) if getattr(own, name) is None else getattr(own, name)
                for name in Rules.model_fields
            }
        )
