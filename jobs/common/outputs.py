"""The files of an output folder, by name, and how stages find each other's results."""

import dataclasses
import platform
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa

from reid import schema, store
from reid.config import Config, data_settings, dump_config
from reid.errors import DamagedError, InputError
from reid.parquet import damaged
from reid.spreadsheet import encode, write_text_table
from reid.value_digests import text_digest, value_digest, whole_digest

ANNOTATIONS = "annotations.parquet"
FAILURES = "failures.parquet"
FAILURES_TEXT = "failures.csv"
CLUSTERS = "clusters.parquet"
IDENTITIES = "identities.csv"
TUNING = "tuning.json"
TRIALS = "trials.csv"
SUMMARY = "summary.json"
CONFIG = "config.yaml"
REPORT = "report.html"
EVALUATION = "evaluation.json"
PAIRS = "pairs.parquet"
DECISIONS = "decisions.parquet"  # of people; belongs to no stage, and outlives all
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

# What each stage writes, for the stages behind it.
STAGE_FILES = {
    "embed": (ANNOTATIONS, FAILURES),
    "match": (PAIRS, KEYPOINT_FAILURES),
    "cluster": (CLUSTERS, TUNING, IDENTITIES),
    "evaluate": (EVALUATION,),
    "report": (REPORT,),
}
OUTDATED = "outdated-"  # before the name of a page that shows an earlier state
_PLACES = ("folders", "token_folders")  # of a stage's part of the summary: species → folder
_CONFIG_SEAL = "# digest of the lines above: "

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
    """Write the resolved configuration beside the outputs, with a digest of itself as last line."""
    text = dump_config(config)
    store.write_text(store.join(config.out, CONFIG), f"{text}{_CONFIG_SEAL}{text_digest(text)}\n")


def check_config(path: str) -> None:
    """Refuse a config.yaml beside outputs that is not what was written there.

    Raises:
        DamagedError: it was changed after it was written.
    """
    text, found, digest = store.read_bytes(path).rpartition(_CONFIG_SEAL.encode())
    if found and text_digest(text) != digest.decode(errors="replace").strip():
        raise DamagedError(
            f"{path}: changed since it was written, or damaged. If the change is meant, give the file "
            "with --config, or give settings as key=value; otherwise run the first stage again"
        )


def read_summary(out: str) -> dict[str, Any]:
    """What stages wrote about themselves; empty where none ran.

    Raises:
        DamagedError: the file was changed after it was written.
    """
    path = store.join(out, SUMMARY)
    try:
        summary = store.read_sealed(path)
    except FileNotFoundError:
        return {}
    for stage in {*STAGES} & {*summary}:
        if not isinstance(summary[stage], dict):
            raise damaged(path, f"{stage} is {type(summary[stage]).__name__}")
        for name in ("files", *_PLACES):
            words = summary[stage].get(name, {})
            if not (
                isinstance(words, dict) and all(isinstance(one, str) for one in words.values())
            ):
                raise damaged(path, f"{stage}: {name} are no names")
    here = store.absolute(out)
    return _renamed(summary, lambda folder: store.join(here, folder))


def _renamed(summary: dict[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """The summary with every folder that a stage names under another name."""

    def told(part: Any) -> Any:
        if not isinstance(part, Mapping):
            return part
        places = {
            kind: {species: rename(folder) for species, folder in part[kind].items()}
            for kind in _PLACES
            if kind in part
        }
        return {**part, **places}

    return {stage: told(part) for stage, part in summary.items()}


def write_summary(config: Config, stage: str, values: Mapping[str, Any] | object) -> None:
    """Replace one stage's part of summary.json; keep those of the stages before it.

    The part also gets `files`: a digest of each file that the stage has written (STAGE_FILES), by
    which later stages notice that they would mix results of different runs.
    """
    plain = values if isinstance(values, Mapping) else dataclasses.asdict(values)  # type: ignore[call-overload]
    # What later stages made of an earlier result is no longer true.
    kept = STAGES[: STAGES.index(stage)]
    summary = {name: value for name, value in read_summary(config.out).items() if name in kept}
    summary |= {stage: {**plain, "files": _digests(config.out, stage)}, "versions": versions()}
    # A folder of results may be moved: what lies in it is named from there on.
    here = f"{store.absolute(config.out).rstrip('/')}/"
    relative = _renamed(summary, lambda folder: folder.removeprefix(here))
    store.write_sealed(store.join(config.out, SUMMARY), relative)


def read_stage(out: str, name: str, made_by: str) -> pa.Table:
    """A table of an earlier stage, as that stage wrote it last.

    Raises:
        InputError: that stage has not run for this folder, or not since a stage before it.
        DamagedError: the table was damaged, or is another run's.
    """
    return _checked(out, name, made_by, lambda path: store.read_table(path), whole_digest)


def read_stage_json(out: str, name: str, made_by: str) -> Any:
    """The JSON file of an earlier stage, as that stage wrote it last; errors as `read_stage`."""
    return _checked(out, name, made_by, lambda path: store.read_json(path), value_digest)


def read_tuning(out: str, species: Collection[str]) -> dict[str, dict[str, Any]]:
    """How the thresholds of these species came about, as the clustering stage wrote it.

    Raises:
        InputError: as `read_stage`.
        DamagedError: a species, or what is said of one, is missing.
    """
    tuning = read_stage_json(out, TUNING, "cluster")
    path = store.join(out, TUNING)
    if not isinstance(tuning, dict):
        raise damaged(path, f"a JSON object is needed, and this is {type(tuning).__name__}")
    for name in species:
        if not _is_tuning(tuning.get(name)):
            raise damaged(path, f"{name}: the threshold, its note or its curve is missing")
    return {name: tuning[name] for name in species}


def _is_tuning(one: Any) -> bool:
    """Has it what the pages show of a threshold?"""
    if not isinstance(one, dict) or not {"eps", "note", "criterion", "curve"} <= {*one}:
        return False
    curve = one["curve"]
    lists: list[Any] = (
        [curve.get(key) for key in ("thresholds", "scores")] if isinstance(curve, dict) else []
    )
    if len(lists) < 2 or not all(isinstance(values, list) for values in lists):
        return False
    numbers = [value for values in lists for value in values]
    eps_fits = one["eps"] is None or isinstance(one["eps"], int | float)
    return (
        eps_fits
        and len(lists[0]) == len(lists[1])
        and all(isinstance(value, int | float) for value in numbers)
    )


def write_failures(config: Config, failures: pa.Table) -> None:
    """What could not be used, as a table for programs and one for a spreadsheet.

    Args:
        config: the resolved configuration.
        failures: schema.FAILURES.
    """
    store.write_table(store.join(config.out, FAILURES), failures)
    write_sheet(config, FAILURES_TEXT, failures)


def write_sheet(config: Config, name: str, table: pa.Table) -> int:
    """A CSV of the output folder, and how many of its cells were guarded against formulas.

    Whether it begins with the mark that Excel wants is what the folder's config.yaml says, so that who only
    decides in it later need not say so again. What it says of formulas is not taken: it may be another's.

    Args:
        config: the resolved configuration.
        name: of the file.
        table: columns of text.
    """
    earlier = store.join(config.out, CONFIG)
    written = data_settings(earlier)[0] if store.exists(earlier) else {}
    text, guarded = write_text_table(table, raw=not config.guard_formulas)
    data = encode(text, excel=bool(written.get("excel", config.excel)))
    store.write_bytes(store.join(config.out, name), data)
    return guarded


def read_failures(out: str) -> pa.Table:
    """The failures of the embedding stage; empty where there are none.

    Raises:
        DamagedError: the table is gone, damaged, or another run's.
    """
    if FAILURES not in read_summary(out).get("embed", {}).get("files", {}):
        try:
            return store.read_table(store.join(out, FAILURES))
        except FileNotFoundError:
            return schema.FAILURES.empty_table()
    return read_stage(out, FAILURES, "embed")


def read_run_decisions(out: str) -> pa.Table:
    """All that people decided of the pictures of an output folder: schema.DECISIONS."""
    try:
        return store.read_table(store.join(out, DECISIONS))
    except FileNotFoundError:
        return schema.DECISIONS.empty_table()


def stage_files(out: str, stage: str) -> dict[str, str]:
    """Name → digest of the files that a stage has written; empty where it has not run."""
    files: dict[str, str] = read_summary(out).get(stage, {}).get("files", {})
    return files


def read_token_folders(out: str) -> dict[str, str]:
    """Species → folder of its stored patch tokens.

    Raises:
        InputError: none were stored for this folder.
    """
    folders: dict[str, str] = read_summary(out).get("embed", {}).get("token_folders", {})
    if not folders:
        raise InputError(
            f"{out}: no patch tokens are stored; run `reid embed` with embed.tokens=true and a model that has "
            "them (dinov2-s, timm:vit_…)"
        )
    return folders


def is_outdated(out: str, stage: str) -> bool:
    """True where a stage has run, and a stage before it has run again since."""
    summary = read_summary(out)
    there = any(store.exists(store.join(out, name)) for name in STAGE_FILES[stage])
    return bool(summary) and stage not in summary and there


def set_aside(out: str, name: str) -> bool:
    """Give a page that no longer shows what the folder holds another name; False: there is none."""
    path = store.join(out, name)
    try:
        page = store.read_bytes(path)
    except FileNotFoundError:
        return False
    store.write_bytes(store.join(out, f"{OUTDATED}{name}"), page)
    store.remove(path)
    return True


def _checked(
    out: str,
    name: str,
    made_by: str,
    read: Callable[[str], Any],
    digest: Callable[[Any], str],
) -> Any:
    path = store.join(out, name)
    summary = read_summary(out)
    files = summary.get(made_by, {}).get("files", {})
    try:
        value = read(path)
    except FileNotFoundError:
        if name in files:
            raise DamagedError(
                f"{path} is gone, though `reid {made_by}` wrote it; restore it, or run "
                f"`reid {made_by}` again"
            ) from None
        raise InputError(_absent(out, path, made_by)) from None
    if summary and made_by not in summary:
        raise InputError(
            f"{path} is of before the last run of an earlier stage, and does not belong to what this "
            f"folder holds now; run `reid {made_by}` again"
        )
    if name in files and files[name] != digest(value):
        raise DamagedError(
            f"{path} is not what `reid {made_by}` wrote: the stage was stopped half-way, or the file "
            f"was replaced or damaged; run `reid {made_by}` again"
        )
    return value


def _absent(out: str, path: str, made_by: str) -> str:
    """Why a table of the folder of a run is not there."""
    if store.is_folder(store.join(out, "annotations")) and store.is_folder(
        store.join(out, "sealed")
    ):
        return f"{out} is a catalogue, not the output folder of a run; give it as --catalogue"
    # Object storage has no folders of its own.
    if not store.is_remote(out) and not store.exists(out) and not store.is_folder(out):
        return f"{out}: there is no such folder; `reid run --input … --out {out}` makes one"
    return f"{path} does not exist; run `reid {made_by}` first"


def _digests(out: str, stage: str) -> dict[str, str]:
    """Name → digest of the files of a stage that there are."""
    found = {}
    for name in STAGE_FILES.get(stage, ()):
        path = store.join(out, name)
        if not store.exists(path):
            continue
        if name.endswith(".parquet"):
            found[name] = whole_digest(store.read_table(path))
        elif name.endswith(".json"):
            found[name] = value_digest(store.read_json(path))
        else:
            found[name] = text_digest(store.read_bytes(path))
    return found
