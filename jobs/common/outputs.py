"""The files of an output folder, by name, and how stages find each other's results."""

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa

from reid import schema, store
from reid.config import Config, dump_config
from reid.errors import InputError

ANNOTATIONS = "annotations.parquet"
FAILURES = "failures.parquet"
CLUSTERS = "clusters.parquet"
IDENTITIES = "identities.csv"
TUNING = "tuning.json"
SUMMARY = "summary.json"
CONFIG = "config.yaml"
REPORT = "report.html"
EVALUATION = "evaluation.json"
PAIRS = "pairs.parquet"
KEYPOINT_FAILURES = "failures-keypoints.parquet"

STAGES = (
    "finetune",
    "embed",
    "match",
    "cluster",
    "truth",
    "evaluate",
    "report",
    "calibrate",
    "identify",
)

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "ray",
    "faiss-cpu",
    "faiss-gpu",
    "openvino",
    "pyarrow",
    "numpy",
)


def versions() -> dict[str, str]:
    """Versions of whatever changes a result, for the record beside it."""
    import reid

    found = {"reid": reid.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_config(config: Config) -> None:
    """Write the resolved configuration beside the outputs."""
    store.write_text(store.join(config.out, CONFIG), dump_config(config))


def read_summary(out: str) -> dict[str, Any]:
    """What stages wrote about themselves; empty where none ran."""
    try:
        summary: dict[str, Any] = store.read_json(store.join(out, SUMMARY))
    except FileNotFoundError:
        return {}
    return summary


def write_summary(config: Config, stage: str, values: Mapping[str, Any] | object) -> None:
    """Replace one stage's part of summary.json; keep those of the stages before it."""
    plain = values if isinstance(values, Mapping) else dataclasses.asdict(values)  # type: ignore[call-overload]
    # What later stages made of an earlier result is no longer true.
    kept = STAGES[: STAGES.index(stage)]
    summary = {name: value for name, value in read_summary(config.out).items() if name in kept}
    summary |= {stage: dict(plain), "versions": versions()}
    store.write_json(store.join(config.out, SUMMARY), summary)


def read_stage(out: str, name: str, made_by: str) -> pa.Table:
    """A table of an earlier stage.

    Raises:
        InputError: that stage has not run for this folder.
    """
    try:
        return store.read_table(store.join(out, name))
    except FileNotFoundError:
        raise InputError(
            f"{store.join(out, name)} does not exist; run `reid {made_by}` first"
        ) from None


def read_failures(out: str) -> pa.Table:
    """The failures of the embedding stage; empty where there are none."""
    try:
        return store.read_table(store.join(out, FAILURES))
    except FileNotFoundError:
        return schema.FAILURES.empty_table()
