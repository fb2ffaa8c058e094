"""The section of local evidence."""

from typing import Literal

from pydantic import Field

from reid.config.sections import Auto, Count, Device, Section


class Pairs(Section):
    """From the neighbour graph to one probability a pair."""

    mode: Literal["off", "on", "auto"] = Field(
        "off", description="auto: kept only if individuals held out gain by more than the spread"
    )
    matcher: str = Field(
        "aliked-lightglue", description="aliked-lightglue, aliked-mutual, rootsift or patches"
    )
    keypoints_per_image: Count = Field(512, description="Most keypoints of one picture")
    long_side: Count = Field(512, description="Pixels; a larger window is reduced to it")
    enlarge: bool = Field(False, description="Enlarge smaller windows to long_side")
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
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="Of the keypoints' and the matcher's networks"
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
