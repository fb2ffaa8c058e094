"""The sections of the configuration of the main job."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Auto = Literal["auto"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
ListOfStr = Annotated[list[str], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration. Frozen: a job never changes what it was asked to do."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Images(Section):
    """How a file becomes a crop."""

    bbox_margin: float = Field(
        0.0, ge=0, le=1, description="Margin around the box, share of its sides"
    )
    max_megapixels: float = Field(80, gt=0, description="A larger image is a failure, not decoded")
    decode: Literal["scaled", "full", "nvjpeg"] = Field(
        "scaled", description="scaled: reduced-size JPEG decode of images far larger than the input"
    )


class Route(Section):
    """Model and views for one species; what is not set is taken from `embed`."""

    model: ListOfStr | None = Field(
        None, description="A name or a list (ensemble); see `reid models`"
    )
    model_weights: list[float] | None = Field(
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
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16 is faster and moves distances"
    )
    trust_remote_code: bool = Field(False, description="Let a hub model run its own code")
    revision: str | None = Field(None, description="Pinned commit of a hub model")
    device: Device = Field("auto", description="auto, cpu, cuda")
    runtime: Literal["auto", "torch", "compile", "openvino"] = Field(
        "auto", description="auto: openvino on CPU where installed and checked, torch otherwise"
    )
    batch_size: Count | Auto = Field("auto", description="Images a forward pass")
    workers: Count | Auto = Field(
        "auto", description="Most model actors at once; auto: all that fit"
    )
    cpus_per_worker: Count | Auto = Field("auto", description="CPU cores of one model actor")
    shard_rows: Count | Auto = Field(
        "auto", description="Images written, and resumed, as one piece"
    )
    per_species: dict[str, Route] = Field(default_factory=dict, description="Routes by species")

    def route(self, species: str) -> Route:
        """Model, weights and views for `species`, complete."""
        own = self.per_species.get(species, Route())
        weights = own.model_weights if own.model else (own.model_weights or self.model_weights)
        return Route(model=own.model or self.model, model_weights=weights, tta=own.tta or self.tta)


class Cluster(Section):
    """From unit vectors to individuals."""

    method: Literal["dbscan", "average", "complete", "hdbscan", "kmeans", "auto"] = Field(
        "dbscan", description="auto: DBSCAN or average linkage, the better on held-out identities"
    )
    eps: float | Auto = Field(
        "auto", description="Cosine distance; auto: tuned on labels, estimated without any"
    )
    per_species_eps: dict[str, Annotated[float, Field(gt=0, lt=2)]] = Field(default_factory=dict)
    fallback_species: str | None = Field(
        None, description="Species whose tuned threshold serves the species without labels"
    )
    min_samples: int = Field(2, ge=1, description="Images, itself included, that make a core point")
    n_clusters: int | None = Field(None, ge=1, description="Number of individuals, for kmeans")
    criterion: Literal["ari", "ami", "pairwise_f1"] = "ari"
    max_eps: float | Auto = Field(
        "auto", description="End of the search for a threshold; auto: from the data"
    )
    images_per_individual: float | None = Field(
        None, ge=1, description="Tune for data of this density, not for the images given"
    )
    backend: Literal["auto", "numpy", "torch", "prefix", "triton", "cuml"] = Field(
        "auto", description="What finds the neighbours"
    )
    device: Device = Field("auto", description="auto, cpu, cuda")
    memory_gb: float = Field(2.0, gt=0, description="Budget of the blocked neighbour search")
    distributed: bool | Auto = Field(
        "auto", description="Neighbour search by Ray tasks; auto: on a cluster that was joined"
    )
    collapse_duplicates: bool = Field(False, description="Cluster copies of one file as one image")
    near_duplicate_distance: float | None = Field(
        None, gt=0, lt=2, description="Cluster bursts closer than this as one image"
    )

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
        description="Neighbours, with a given cluster.eps; tuning takes images per individual",
    )
    jaccard_weight: float = Field(0.7, ge=0, le=1, description="Share of the Jaccard distance")


class Report(Section):
    """The HTML page."""

    enabled: bool = True
    max_megabytes: float = Field(30, gt=1)
    map: bool = Field(True, description="Draw the map of embeddings")
