"""The sections of the configuration of the main job."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

Auto = Literal["auto"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$")]
ListOfStr = Annotated[list[str], Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what NumPy and scikit-learn take


class Section(BaseModel):
    """A part of the configuration. Frozen: a job never changes what it was asked to do."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sources(Section):
    """How tables are read."""

    columns: dict[str, str] = Field(
        default_factory=dict, description="Column of the file for a field: image_path: filename"
    )
    date_order: Literal["dmy", "mdy", "ymd"] | None = Field(
        None, description="Of dates such as 11/04/2021; default: as the column proves"
    )
    keep_words: list[str] = Field(
        default_factory=list, description="Words that are names here, though they look empty: NA"
    )

    detections: str | None = Field(
        None,
        description="A detector's results (JSON, or a folder with one a picture), for the images of the folders given",
    )
    detection_threshold: float | None = Field(
        None, ge=0, le=1, description="Least confidence of a box; default: the detector's own"
    )
    animal_categories: ListOfStr = Field(
        ["animal"], description="Categories of a detector that are animals"
    )
    trust_individual_ids: bool = Field(
        False, description="individualID of Camtrap DP is an individual, whatever the package says"
    )
    location_level: Count | None = Field(
        None,
        description="Folder that is the place, 1 the first below the root; default: all of them",
    )
    location_pattern: str | None = Field(
        None, description="Regular expression on paths; its one group is the place"
    )
    time_format: str | None = Field(
        None,
        description="Of the time in file names, where a source gives none: %Y%m%d_%H%M%S; goes before EXIF",
    )
    encounter_gap_seconds: float = Field(
        60, ge=0, description="Longest pause within an encounter, where the source has none"
    )
    flank_sensitive: list[str] = Field(
        default_factory=list,
        description="Species whose left and right differ, or all: a warning where images do not say the side",
    )
    max_file_megabytes: float = Field(
        1000, gt=0, description="A larger image file is a failure, not read"
    )
    max_table_megabytes: float = Field(
        4000, gt=0, description="A larger table or JSON file is an error, not read"
    )
    as_folder: bool = Field(
        False, description="Read a package of another program as a folder of images"
    )

    @field_validator("keep_words", "animal_categories", "flank_sensitive", mode="before")
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


def _in_order(window: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = window
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            f"[{left:g}, {top:g}, {right:g}, {bottom:g}] is no window: left, top, right and bottom are "
            "shares of the crop, from 0 to 1, left below right and top below bottom"
        )
    return window


Window = Annotated[tuple[float, float, float, float], AfterValidator(_in_order)]


class Images(Section):
    """How a file becomes a crop."""

    bbox_margin: float = Field(
        0.0, ge=0, le=1, description="Margin around the box, share of its sides"
    )
    max_megapixels: float = Field(
        80, gt=0, le=1000, description="A larger image is a failure, not decoded"
    )
    min_crop_pixels: int = Field(
        16, ge=1, description="A box with a shorter side is a failure, not embedded"
    )
    decode: Literal["scaled", "full", "nvjpeg"] = Field(
        "scaled", description="scaled: reduced-size JPEG decode of images far larger than the input"
    )
    window: Window | None = Field(
        None,
        description="Part of the crop that is looked at: left, top, right, bottom as shares of its sides",
    )
    per_species_window: dict[str, Window] = Field(
        default_factory=dict, description="Windows by species"
    )

    def window_of(self, species: str) -> tuple[float, float, float, float] | None:
        """The window of one species; None: the whole crop."""
        return self.per_species_window.get(species, self.window)


class Route(Section):
    """Model and views for one species; what is not set is taken from `embed`."""

    model: ListOfStr | None = Field(
        None, description="A name or a list (ensemble); see `reid models`"
    )
    model_weights: list[Annotated[float, Field(gt=0, le=1e6)]] | None = Field(
        None, description="One weight a model of the ensemble"
    )
    tta: ListOfStr | None = Field(None, description="Views: identity, hflip, …")

    @field_validator("model", "tta", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class Embed(Route):
    """From crops to unit vectors."""

    model: ListOfStr = Field(["efficientnet-lite0"], description="A name or a list (an ensemble)")
    tta: ListOfStr = Field(["identity", "hflip"], description="Views averaged for each image")
    tokens: bool = Field(
        False,
        description="Store patch tokens too, where the model is a vision transformer: 0.1 to 2 MB an image",
    )
    pool: Literal["model", "foreground"] = Field(
        "model",
        description="How a picture becomes one vector. model: as the network does it; foreground: the mean of the "
        "patch tokens that show the animal, found in all images of a species (tokens are stored, tta is not used)",
    )
    foreground_weights: Literal["hard", "soft"] = Field(
        "hard",
        description="Patches that count, by the first principal component of the tokens. hard: those above "
        "foreground_threshold; soft: all, the more the further they are above it",
    )
    foreground_threshold: float = Field(
        0.0,
        ge=-3,
        le=3,
        description="Of the first principal component, in its standard deviations; 0 is the mean patch",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32",
        description="bf16 moves distances, and is faster where the processor has units for it; auto: bf16 "
        "where it is measured to be faster",
    )
    trust_remote_code: bool = Field(False, description="Let a hub model run its own code")
    revision: str | None = Field(None, description="Pinned commit of a hub model")
    device: Device = Field("auto", description="auto, cpu, cuda")
    runtime: Literal["auto", "torch", "compile", "openvino"] = Field(
        "auto", description="auto: openvino on CPU where installed and checked, torch otherwise"
    )
    batch_size: Count | Auto = Field("auto", description="Images a forward pass")
    retry_failed: bool = Field(
        False, description="Try images again that failed before and have not changed"
    )
    ray: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether Ray's actors embed; auto: not where it is less work than to start them, on "
        "one machine",
    )
    workers: Count | Auto = Field(
        "auto", description="Most model actors at once; auto: all that fit"
    )
    cpus_per_worker: Count | Auto = Field("auto", description="CPU cores of one model actor")
    shard_rows: Count | Auto = Field(
        "auto", description="Images written, and resumed, as one piece"
    )
    per_species: dict[str, Route] = Field(default_factory=dict, description="Routes by species")

    @property
    def wants_tokens(self) -> bool:
        """Whether patch tokens are to be stored."""
        return self.tokens or self.pool == "foreground"

    def route(self, species: str) -> Route:
        """Model, weights and views for `species`, complete."""
        own = self.per_species.get(species, Route())
        weights = own.model_weights if own.model else (own.model_weights or self.model_weights)
        return Route(model=own.model or self.model, model_weights=weights, tta=own.tta or self.tta)


class Cluster(Section):
    """From unit vectors to individuals."""

    method: Literal[
        "dbscan", "average", "complete", "hdbscan", "kmeans", "scan", "threshold", "auto"
    ] = Field(
        "auto",
        description="auto: DBSCAN or average linkage, the better on held-out identities; DBSCAN where there "
        "are no labels, or cluster.eps is given. threshold: what hangs together by pairs within cluster.eps "
        "(0.1 where auto), gated by time and place",
    )
    eps: float | Auto = Field(
        "auto", description="Cosine distance; auto: tuned on labels, estimated without any"
    )
    per_species_eps: dict[str, Annotated[float, Field(gt=0, lt=2)]] = Field(
        default_factory=dict, description="Thresholds by species"
    )
    fallback_species: str | None = Field(
        None, description="Species whose tuned threshold serves the species without labels"
    )
    min_samples: Count = Field(2, description="Images, itself included, that make a core point")
    n_clusters: Annotated[int, Field(ge=1, le=10**8)] | None = Field(
        None, description="Number of individuals, for kmeans and scan"
    )
    gate_seconds: float | None = Field(
        None,
        gt=0,
        description="threshold: two images are one animal only within so many seconds; null: at any time",
    )
    gate_pixels: float | None = Field(
        None,
        gt=0,
        description="threshold: or with boxes whose centres are nearer than so many pixels, within "
        "gate_pixels_seconds",
    )
    gate_pixels_seconds: float = Field(300.0, gt=0, description="See gate_pixels")
    self_label: bool = Field(
        False, description="scan learns on from the images that it is sure of, as in its paper"
    )
    over_cluster: bool = Field(
        False,
        description="scan: n_clusters is more than there are, twice a guess say; clusters that share nearest images "
        "are joined, and so many individuals there are",
    )
    criterion: Literal["ari", "ami", "pairwise_f1"] = Field(
        "ari", description="What tuning maximises, against the labels"
    )
    max_eps: float | Auto = Field(
        "auto", description="End of the search for a threshold; auto: from the data"
    )
    images_per_individual: float | None = Field(
        None, gt=1, le=1e6, description="Tune for data of this density, not for the images given"
    )
    encounters: Literal["auto", "off", "together"] = Field(
        "auto",
        description="together: an encounter is one animal, and its clusters are joined, but where boxes or labels "
        "show several; auto: where most images are in encounters that show one animal each",
    )
    backend: Literal["auto", "numpy", "torch", "prefix", "triton", "int8", "cuml"] = Field(
        "auto",
        description="What finds the neighbours; triton: one kernel on a GPU (auto on Hopper GPUs); int8: the "
        "same on whole numbers, not yet tried on one",
    )
    search: Literal["exact", "cells"] = Field(
        "exact",
        description="exact: all pairs are compared; cells, for tens of millions of images: only those in cells "
        "that are near to each other, and what that misses is measured and said",
    )
    recall: float = Field(
        0.99, gt=0, lt=1, description="cells: share of the pairs within reach to be found"
    )
    range_km: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="By species: images of places farther apart than this, by steps of it from camera to camera, "
        "are never one animal, and not compared; needs pairs.deployments",
    )
    device: Device = Field("auto", description="auto, cpu, cuda")
    memory_gb: float = Field(
        2.0, ge=0.01, le=100_000, description="Budget of the blocked neighbour search"
    )
    distributed: bool | Auto = Field(
        "auto", description="Neighbour search by Ray tasks; auto: on a cluster that was joined"
    )
    collapse_duplicates: bool = Field(False, description="Cluster copies of one file as one image")
    near_duplicate_distance: float | None = Field(
        None, gt=0, lt=2, description="Cluster bursts closer than this as one image"
    )

    @field_validator("encounters", mode="before")
    @classmethod
    def _yaml_off(cls, value: Any) -> Any:
        return "off" if value is False else value

    @field_validator("eps", "max_eps")
    @classmethod
    def _eps_in_range(cls, value: float | str) -> float | str:
        if isinstance(value, float) and not 0 < value < 2:
            raise ValueError(f"{value} is not a usable cosine distance; give 0 < eps < 2, or auto")
        return value


class Rerank(Section):
    """k-reciprocal re-ranking (Zhong et al. 2017)."""

    mode: Literal["off", "on", "auto"] = Field(
        "off", description="auto: kept only if held-out gains"
    )
    k1: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Neighbours, with a given cluster.eps; tuning takes images per individual",
    )
    jaccard_weight: float = Field(0.7, ge=0, le=1, description="Share of the Jaccard distance")


class Report(Section):
    """The HTML page."""

    enabled: bool = Field(True, description="Write the page")
    max_megabytes: float = Field(
        30, gt=1, le=10_000, description="Size of a page; what has no room is left out, and said"
    )
    map: bool = Field(True, description="Draw the map of embeddings")
    pairs: int = Field(
        60, ge=0, description="Pairs of `reid match` that are shown with the points they share"
    )
