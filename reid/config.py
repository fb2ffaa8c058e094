"""The configuration of every job: one schema, unknown keys refused with the known ones listed."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from reid import store
from reid.errors import InputError

Auto = Literal["auto"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
ListOfStr = Annotated[list[str], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
# Pydantic's own words in the path of a problem, and no keys of the user's file.
UNION_BRANCHES = ("int", "constrained-int", "float", "bool", "literal['auto']")


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
    backend: Literal["auto", "numpy", "torch", "triton", "cuml"] = Field(
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


class Config(Section):
    """Everything a run was asked to do; written as config.yaml beside every output."""

    input: list[str] = Field(
        default_factory=list, description="Folders, globs, lists, CSV, Parquet"
    )
    out: str = Field("results", min_length=1, description="Output folder or URI")
    root: str | None = Field(None, description="Folder that image paths are relative to")
    store: str | None = Field(None, description="Embedding store; default: OUT/embeddings")
    species: str | None = Field(None, description="Species of rows that name none")
    identity_from_parent: bool = Field(False, description="Read labels from folder names")
    max_failures: float = Field(0.1, ge=0, le=1, description="Share of images that may fail")
    address: str | None = Field(None, description="Ray cluster to join; default: this machine")
    seed: int = Field(0, ge=0, description="Of everything random")
    images: Images = Field(default_factory=Images)
    embed: Embed = Field(default_factory=Embed)
    cluster: Cluster = Field(default_factory=Cluster)
    rerank: Rerank = Field(default_factory=Rerank)
    report: Report = Field(default_factory=Report)

    @field_validator("input", mode="before")
    @classmethod
    def _one_input(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _kmeans_needs_a_number(self) -> Self:
        if self.cluster.method == "kmeans" and self.cluster.n_clusters is None:
            raise ValueError(
                "cluster.method=kmeans needs cluster.n_clusters, the number of individuals"
            )
        return self

    @property
    def store_path(self) -> str:
        """Where the embeddings of this run live."""
        return self.store or f"{self.out.rstrip('/')}/embeddings"


def load_config(
    file: str | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Resolve the configuration: defaults, then the YAML file, then flags, then `key=value` pairs.

    Args:
        file: YAML file, or None.
        overrides: `section.key=value`; the value is read as YAML.
        flags: values of command-line flags; None means not given.

    Raises:
        InputError: a key is unknown, a value does not fit, or the file cannot be read.
    """
    data: dict[str, Any] = {}
    if file is not None:
        data = _spell_out(_read_yaml(file))
    data = _merge(data, {key: value for key, value in (flags or {}).items() if value is not None})
    for override in overrides:
        data = _merge(data, _spell_out(_parse_override(override)))
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise InputError(_explain(error)) from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(file: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(store.read_bytes(file).decode("utf-8"))
    except OSError as error:
        raise InputError(f"--config {file}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {file}: not YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(
            f"--config {file}: expected `key: value` lines, found a {type(data).__name__}"
        )
    return data


def _parse_override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(
            f"{text!r} is not an override; write key=value, for example cluster.eps=0.3"
        )
    try:
        node: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"{text!r}: the value is not YAML: {error}") from error
    for part in reversed(key.split(".")):
        node = {part: node}
    assert isinstance(node, dict)
    return node


def _spell_out(data: dict[str, Any]) -> dict[str, Any]:
    """`rerank: auto` reads better than `rerank: {mode: auto}`; YAML turns on and off into booleans."""
    if "rerank" not in data:
        return data
    rerank = data["rerank"]
    if isinstance(rerank, str | bool):
        rerank = {"mode": rerank}
    if isinstance(rerank, dict) and isinstance(rerank.get("mode"), bool):
        rerank = {**rerank, "mode": "on" if rerank["mode"] else "off"}
    return {**data, "rerank": rerank}


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            _merge(below, value)
            if isinstance(below, dict) and isinstance(value, Mapping)
            else value
        )
    return merged


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = [part for part in problem["loc"] if part not in UNION_BRANCHES]
        path = ".".join(str(part) for part in where)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(where[:-1])
            close = difflib.get_close_matches(str(where[-1]), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            lines.append(f"{path}: unknown key{hint} Known keys here: {', '.join(known)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            given = "" if isinstance(problem["input"], dict) else f" (given: {problem['input']!r})"
            lines.append(f"{path}: {message}{given}" if path else message)
    return "configuration: " + "\n  ".join(dict.fromkeys(lines))


def _known_keys(path: Sequence[str | int]) -> list[str]:
    model: type[BaseModel] = Config
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        else:  # per_species, and then a species
            model = Route
    return list(model.model_fields)
