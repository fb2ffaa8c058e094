"""Runs of the embedding job in tests: how they are started, and what they left."""

from dataclasses import dataclass
from pathlib import Path

from jobs.common import outputs
from jobs.embed.embed_driver import EmbedSummary
from jobs.run import run_embed
from reid import embeddings, store
from reid.config import load_config

# On Ray, one worker with one thread, as others test on the same cores, and no runtime that compiles first.
QUICK = ("embed.ray=always", "embed.runtime=torch", "embed.cpus_per_worker=1", "embed.workers=1")
HERE = "embed.ray=never"  # the same to the byte, as test_embed_places.py shows, and quicker


@dataclass(frozen=True)
class Run:
    """What a run of the embedding job left behind."""

    out: Path
    summary: EmbedSummary

    @property
    def folder(self) -> Path:
        (folder,) = set(self.summary.folders.values())
        return Path(folder)


def embed(photos: Path, out: Path, *overrides: str) -> Run:
    config = load_config(
        None, [*QUICK, *overrides], {"input": [str(photos)], "out": str(out), "species": "lynx"}
    )
    return Run(out, run_embed(config))


def written(folder: Path) -> dict[str, int]:
    """When each part was written: a part that is written again gets another time."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}


def stored_rows(folder: Path) -> list[str]:
    return sorted(embeddings.stored_ids(str(folder)).to_pylist())


def wanted_rows(out: Path) -> list[str]:
    annotations = store.read_table(str(out / outputs.ANNOTATIONS))
    return sorted(annotations["annotation_id"].to_pylist())


def failures_by_file(out: Path) -> dict[str, tuple[str, str]]:
    rows = store.read_table(str(out / outputs.FAILURES)).to_pylist()
    found = {row["image_path"]: (row["stage"], row["error"]) for row in rows}
    assert len(found) == len(rows)
    return found
