"""The table of trials beside tuning.json: what was tried in an output folder, and what it gave."""

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from jobs.cluster.clustering import ClusterSummary
from jobs.cluster.groups import Group
from jobs.common import outputs
from jobs.common.console import say
from reid import store
from reid.config import Config
from reid.errors import DamagedError
from reid.spreadsheet import unguard

COLUMNS = (
    "trial", "when", "species", "settings", "embeddings", "method", "threshold", "from", "held_out",
    "held_out_spread", "criterion", "ari", "images", "individuals", "singletons", "seconds", "clusters",
)  # fmt: skip
COUNTS = ("trial", "images", "individuals", "singletons")
SCORES = ("threshold", "held_out", "held_out_spread", "ari", "seconds")  # empty where not known
# Settings that decide a result, and what in them does not: where it is computed, and how fast.
SECTIONS = ("species", "seed", "images", "embed", "cluster", "rerank", "pairs")
WHERE = {
    "device", "runtime", "batch_size", "ray", "workers", "cpus_per_worker", "shard_rows", "backend",
    "memory_gb", "distributed", "trust_remote_code",
}  # fmt: skip

Row = dict[str, str]


def changed_settings(config: Config) -> str:
    """Settings that decide a result and differ from their defaults, as `key=value` one can give again."""
    given, default = config.model_dump(mode="json"), Config().model_dump(mode="json")
    found: list[str] = []
    for name in SECTIONS:
        found += _changed(name, given[name], default[name])
    return " ".join(found)


def _changed(key: str, value: Any, default: Any) -> list[str]:
    if key.rpartition(".")[2] in WHERE or value == default:
        return []
    section = Config.model_fields.get(key)
    if isinstance(value, dict) and section is not None and _is_section(section.annotation):
        return [
            text for own in value for text in _changed(f"{key}.{own}", value[own], default[own])
        ]
    return [f"{key}={_plain(value)}"]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _plain(value: Any) -> str:
    """As one writes it behind `=`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return f"[{','.join(map(str, value))}]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_trials(out: str) -> list[Row]:
    """The rows of an output folder, the oldest first; empty where nothing was clustered.

    Raises:
        DamagedError: the file is no table of trials.
    """
    path = store.join(out, outputs.TRIALS)
    try:
        text = store.read_bytes(path).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error) as error:
        raise DamagedError(f"{path}: no table of trials ({error}); move it away") from error
    rows = [dict(zip(COLUMNS, map(unguard, line), strict=False)) for line in lines[1:]]
    even = all(len(line) == len(COLUMNS) for line in lines)
    if lines[:1] != [[*COLUMNS]] or not even or not all(map(_is_row, rows)):
        raise DamagedError(f"{path}: no table of trials as `reid cluster` writes it; move it away")
    return rows


def _is_row(row: Row) -> bool:
    """Has it numbers where these belong?"""
    try:
        for name in (*COUNTS, *SCORES):
            if row[name] or name in COUNTS:
                float(row[name]) if name in SCORES else int(row[name])
    except ValueError:
        return False
    return bool(row["held_out"]) == bool(row["held_out_spread"])


def record_trial(
    config: Config, groups: Sequence[Group], summary: ClusterSummary, now: str, before: str | None
) -> None:
    """Append this clustering to the table, unless it is there; say whose results it has replaced.

    Args:
        config: the resolved configuration.
        groups: what was clustered.
        summary: what came out.
        now: digest of clusters.parquet.
        before: of the one that it replaces; None: there was none; empty: of before an earlier stage
            ran again, as the last trial says.
    """
    rows = read_trials(config.out)
    settings = changed_settings(config)
    embedded = {group.species: group.folder.rstrip("/").rpartition("/")[2] for group in groups}
    if before == "" and rows:
        before = rows[-1]["clusters"]
    same = next(
        (
            row
            for row in rows
            if (row["clusters"], row["settings"]) == (now, settings)
            and embedded.get(row["species"]) == row["embeddings"]
        ),
        None,
    )
    if same is None:
        number = max((int(row["trial"]) for row in rows), default=0) + 1
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows += [
            {
                "trial": str(number),
                "when": when,
                "species": name,
                "settings": settings,
                "embeddings": embedded[name],
                **_figures(one),
                "seconds": f"{summary.seconds:.1f}",
                "clusters": now,
            }
            for name, one in summary.species.items()
        ]
        cells = [pa.array([row[name] for row in rows], pa.string()) for name in COLUMNS]
        outputs.write_sheet(config, outputs.TRIALS, pa.table(cells, names=[*COLUMNS]))
    if before is not None and before != now:
        old = next((row for row in reversed(rows) if row["clusters"] == before), None)
        whose = (
            "an earlier run" if old is None else f"trial {old['trial']} ({_told(old['settings'])})"
        )
        say(
            f"note: {outputs.CLUSTERS}, {outputs.IDENTITIES} and {outputs.TUNING} replace those of {whose}; "
            f"{outputs.TRIALS} keeps the figures of all, and these settings make the former again"
        )


def _told(settings: str) -> str:
    return settings or "all defaults"


def _figures(found: Mapping[str, Any]) -> Row:
    """What one species' part of the summary says."""

    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    mean, spread = found["held_out"] or (None, None)
    return {
        "method": found["method"],
        "threshold": number(found["eps"], 6),
        "from": found["eps_source"],
        "held_out": number(mean, 4),
        "held_out_spread": number(spread, 4),
        "criterion": found["criterion"] or "",
        "ari": number(found["scores"].get("ari"), 4),
        "images": str(found["images"]),
        "individuals": str(found["individuals"]),
        "singletons": str(found["singletons"]),
    }
