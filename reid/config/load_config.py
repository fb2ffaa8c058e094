"""One schema for every job, and how it is read: unknown keys are refused, the known ones listed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from reid import store
from reid.config.finetune_section import Finetune
from reid.config.identify_section import Identify
from reid.config.overrides import parse_override
from reid.config.pairs_section import Pairs
from reid.config.problems import explain
from reid.config.sections import Cluster, Embed, Images, Report, Rerank, Section, Seed, Sources
from reid.config.yaml_text import YamlError, parse_yaml
from reid.errors import InputError

# Pydantic's own words in the path of a problem, and no keys of the user's file.
UNION_BRANCHES = ("int", "constrained-int", "float", "bool", "literal['auto']")

# What a stage that goes on takes from the config.yaml of the output folder. The folder may be another's:
# where to compute, where to write and whether to run code is never decided there.
DATA_SETTINGS = (
    "input", "root", "species", "identity_from_parent", "max_failures", "excel", "seed", "images",
    "embed", "cluster", "rerank", "pairs", "report",
)  # fmt: skip


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
    metrics: bool = Field(False, description="Counters at the cluster's Prometheus endpoint")
    guard_formulas: bool = Field(
        True, description="CSV: an apostrophe before text that a spreadsheet would run (= + - @)"
    )
    excel: bool = Field(
        False, description="Tables for spreadsheets (.csv): with a mark by which Excel sees UTF-8"
    )
    seed: Seed = Field(0, description="Of everything random")
    sources: Sources = Field(default_factory=Sources)
    images: Images = Field(default_factory=Images)
    embed: Embed = Field(default_factory=Embed)
    cluster: Cluster = Field(default_factory=Cluster)
    rerank: Rerank = Field(default_factory=Rerank)
    pairs: Pairs = Field(default_factory=Pairs)
    report: Report = Field(default_factory=Report)
    finetune: Finetune = Field(default_factory=Finetune)
    identify: Identify = Field(default_factory=Identify)

    @model_validator(mode="before")
    @classmethod
    def _plain_text(cls, data: Any) -> Any:
        for text in _strings(data):
            if "\0" in text or (
                not text.isascii() and text.encode("utf-8", "ignore").decode() != text
            ):
                raise ValueError(f"{text[:200]!r} holds bytes that are no UTF-8 text")
            store.refuse_keys(text)
        return data

    @field_validator("input", mode="before")
    @classmethod
    def _one_input(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _some_need_a_number(self) -> Self:
        method = self.cluster.method
        if method in ("kmeans", "scan") and self.cluster.n_clusters is None:
            raise ValueError(
                f"cluster.method={method} needs cluster.n_clusters, the number of individuals"
            )
        ways = {"self_label": self.cluster.self_label, "over_cluster": self.cluster.over_cluster}
        said = [f"cluster.{name}" for name, is_on in ways.items() if is_on]
        if said and method != "scan":
            raise ValueError(f"{', '.join(said)}: only with cluster.method=scan")
        return self

    @model_validator(mode="after")
    def _ranges_need_places(self) -> Self:
        if not self.cluster.range_km:
            return self
        if self.pairs.deployments is None:
            raise ValueError(
                "cluster.range_km needs to know where the cameras stood: pairs.deployments=cameras.csv"
            )
        others = {
            f"cluster.method={self.cluster.method}": self.cluster.method
            in ("hdbscan", "kmeans", "scan"),
            "cluster.backend=cuml": self.cluster.backend == "cuml",
            "cluster.collapse_duplicates": self.cluster.collapse_duplicates,
            "cluster.near_duplicate_distance": self.cluster.near_duplicate_distance is not None,
            "rerank.mode": self.rerank.mode != "off",
        }
        used = [name for name, is_used in others.items() if is_used]
        if used:
            raise ValueError(
                f"cluster.range_km does not go together with {', '.join(used)}, which compare images of all places"
            )
        return self

    @model_validator(mode="after")
    def _threshold_is_plain(self) -> Self:
        cluster = self.cluster
        if cluster.method != "threshold":
            gates = [
                f"cluster.{name}"
                for name in ("gate_seconds", "gate_pixels")
                if getattr(cluster, name)
            ]
            if gates:
                raise ValueError(f"{', '.join(gates)}: only with cluster.method=threshold")
            return self
        others = {
            "rerank.mode": self.rerank.mode != "off",
            "pairs.mode": self.pairs.mode != "off",
            "cluster.encounters": cluster.encounters == "together",
            "cluster.collapse_duplicates": cluster.collapse_duplicates,
            "cluster.near_duplicate_distance": cluster.near_duplicate_distance is not None,
        }
        asked = [name for name, wanted in others.items() if wanted]
        if asked:
            raise ValueError(
                f"cluster.method=threshold joins pairs by their cosine distance alone; leave out {', '.join(asked)}"
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
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Resolve the configuration: defaults, then the YAML file, then flags, then `key=value` pairs.

    Args:
        file: YAML file, or None.
        overrides: `section.key=value`; the value is read as YAML.
        flags: values of command-line flags; None means not given.
        base: settings that go before those of the file, see `data_settings`.

    Raises:
        InputError: a key is unknown, a value does not fit, or the file cannot be read.
    """
    data: dict[str, Any] = dict(base or {})
    if file is not None:
        data = _merge(data, _spell_out(_read_yaml(file)))
    data = _merge(data, {key: value for key, value in (flags or {}).items() if value is not None})
    for override in overrides:
        data = _merge(data, _spell_out(parse_override(override, Config)))
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise InputError(f"configuration: {explain(error, Config)}") from None


def data_settings(file: str) -> tuple[dict[str, Any], list[str]]:
    """What concerns the data in the config.yaml of an earlier stage.

    Args:
        file: path of a config.yaml that may be somebody else's.

    Returns:
        Settings for the `base` of `load_config`; and, as `key=value`, those that decide where to compute
        or what may run there, which are not taken.

    Raises:
        InputError: the file cannot be read.
    """
    found = _spell_out(_read_yaml(file))
    data = {key: value for key, value in found.items() if key in DATA_SETTINGS}
    left = {key: found[key] for key in ("address", "store") if found.get(key)}
    if isinstance(data.get("embed"), dict):
        data["embed"] = dict(data["embed"])
        if data["embed"].pop("trust_remote_code", False):
            left["embed.trust_remote_code"] = True
    return data, [f"{key}={value}" for key, value in left.items()]


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(file: str) -> dict[str, Any]:
    try:
        data = parse_yaml(store.read_bytes(file).decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"--config {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--config {file}: not YAML: it is not UTF-8 ({error})") from error
    except YamlError as error:
        raise InputError(f"--config {file}: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(
            f"--config {file}: expected `key: value` lines, found a {type(data).__name__}"
        )
    return data


def _spell_out(data: dict[str, Any]) -> dict[str, Any]:
    """`rerank: auto` reads better than `rerank: {mode: auto}`; YAML turns on and off into booleans."""
    for name in ("rerank", "pairs"):
        if name not in data:
            continue
        section = data[name]
        if isinstance(section, str | bool):
            section = {"mode": section}
        if isinstance(section, dict):
            words = {key: "on" if section[key] else "off" for key in ("mode", "encounters")
                     if isinstance(section.get(key), bool)}  # fmt: skip
            section = {**section, **words}
        data = {**data, name: section}
    return data


def _strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(data, Sequence) and not isinstance(data, bytes):
        for value in data:
            yield from _strings(value)


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
