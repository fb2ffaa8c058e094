"""The section of local evidence."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reid.config.sections import Auto, Count, Device, Section


class Pairs(Section):
    """From the neighbour graph to one probability a pair."""

    mode: Literal["off", "on", "auto"] = Field(
        "off", description="auto: kept only if individuals held out gain by more than the spread"
    )
    matcher: str = Field(
        "aliked-lightglue",
        description="aliked-lightglue, aliked-mutual, rootsift or patches; or the folder of a tuned matcher",
    )
    keypoints_per_image: Count = Field(512, description="Most keypoints of one picture")
    long_side: Count = Field(512, description="Pixels; a larger window is reduced to it")
    # Of 60 of the nyala's gallery whose window was below 512 pixels, a mate was among the ten best voted for .667
    # where these were enlarged, for .517 where not (tests/benchmarks/pairs_tried.py --small).
    enlarge: bool = Field(True, description="Enlarge smaller windows to long_side")
    wide: Count = Field(
        250, description="Nearest of each image by embedding that are looked at cheaply (votes)"
    )
    k: Count = Field(10, description="Best voted of each image that are matched point by point")
    nearest: int = Field(
        5, ge=0, description="Nearest of each image by embedding that are matched in any case"
    )
    radius: float | None = Field(
        None, gt=0, lt=2, description="Every pair within this cosine distance is matched too"
    )
    viewpoints: Literal["compare-all", "same-side"] = Field(
        "same-side", description="same-side: left is never compared with right"
    )
    encounters: Literal["off", "together"] = Field(
        "off",
        description="together: an encounter is one animal, and its images need no comparing",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32",
        description="Of the matcher's network. bf16 moves a few confidences, and is three times as fast where "
        "the processor has units for it; auto: bf16 where it is measured to be faster",
    )
    runtime: Literal["auto", "torch", "openvino"] = Field("auto", description="As embed.runtime")
    device: Device = Field("auto", description="auto, cpu, cuda")
    workers: Count | Auto = Field("auto", description="auto: every core, or every GPU")
    lone_probability: float = Field(
        0.98,
        gt=0.5,
        le=1,
        description="Two groups that hang on one pair below this are left to people",
    )
    deployments: str | None = Field(
        None,
        description="Where cameras stood: deployments.csv of Camtrap DP, camtrapR's camera table, or "
        "detector, start, end and lat, lon or x, y",
    )
    max_speed_kmh: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="By species: pairs that would need a higher speed between two places are cut; where "
        "`deployments` says nothing of a place, those of two places in the same minute",
    )
    tracks_only: bool = Field(
        False,
        description="Cut all pairs but steps of one track: of one camera, and within the limits below",
    )
    link_seconds: float = Field(
        30, ge=0, description="A step of a track is never longer than this,"
    )
    link_pixels: float = Field(
        100, ge=0, description="or the boxes' middles are at most so far apart in the frame"
    )
    link_seconds_near: float = Field(300, ge=0, description="and the pictures at most so long")

    @model_validator(mode="after")
    def _near_for_longer(self) -> Self:
        if self.link_seconds > self.link_seconds_near:
            raise ValueError(
                f"pairs.link_seconds={self.link_seconds:g} is more than pairs.link_seconds_near="
                f"{self.link_seconds_near:g}: boxes near each other may be apart for longer, not shorter"
            )
        return self
