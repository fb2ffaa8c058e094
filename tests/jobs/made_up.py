"""Photographs whose vectors are made up: a picture's file holds its vector, nothing is decoded.

What a catalogue makes of distances can so be tested without a model, and in distances that fit on
paper. As a program it is `reid` with this stand-in for the embedding stage:

    python made_up.py MOMENT ARGUMENTS...

kills itself at a moment: `embeddings`, `edges`, `staged` before the first file of that kind is
written, `commit` right after the commit; `-` for never.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import jobs.catalogue.calibrate
import jobs.catalogue.identification
import jobs.cli
import jobs.run
from jobs.common.embedded import EmbedSummary
from reid import embeddings, manifest, schema, store
from reid.catalogue import commits
from reid.picture_hash import file_hash
from reid.store import files, parquet_tables

RECIPE = "made-up-0001"
ROWS_A_PART = 3


def at(degrees: float) -> np.ndarray:
    """A unit vector in the plane: two of them are 1 − cos of the angle between them apart."""
    return np.asarray([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


def photograph(folder: Path, vectors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Write pictures, from name to vector, as <name>.jpg; name → annotation id."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, vector in vectors.items():
        (folder / f"{name}.jpg").write_bytes(np.asarray(vector, np.float32).tobytes())
    return {name: manifest.annotation_id(f"{name}.jpg", None) for name in vectors}


def embed(
    config: Any, annotations: pa.Table, expected: Mapping[str, str] | None = None
) -> tuple[EmbedSummary, pa.Table]:
    """As `jobs.embed.embed_driver.embed`; a file that is no vector is a failure."""
    folder = store.join(config.store, RECIPE)
    embeddings.drop_changed(folder, annotations)
    stored = set(embeddings.stored_ids(folder).to_pylist())
    pending = [row for row in annotations.to_pylist() if row["annotation_id"] not in stored]
    failures = []
    for start in range(0, len(pending), ROWS_A_PART):
        rows = []
        for row in pending[start : start + ROWS_A_PART]:
            data = store.read_bytes(store.join(row["root"], row["image_path"]))
            if len(data) % 4:
                failures.append({**row, "stage": "decode", "error": "this is no picture"})
                continue
            rows.append(
                {
                    **row,
                    "embedding": np.frombuffer(data, np.float32),
                    "content_hash": file_hash(data, row["bbox"]),
                    "width": 1,
                    "height": 1,
                }
            )
        if rows:
            table = pa.Table.from_pylist(rows, schema=schema.embeddings(len(rows[0]["embedding"])))
            name = embeddings.part_digest([row["annotation_id"] for row in rows])
            store.write_table(store.join(folder, f"part-{name}.parquet"), table)
    species = set(annotations["species"].to_pylist())
    summary = EmbedSummary(
        annotations=len(annotations),
        embedded=len(pending) - len(failures),
        reused=len(annotations) - len(pending),
        failed=len(failures),
        recipes=dict.fromkeys(species, RECIPE),
        folders=dict.fromkeys(species, folder),
    )
    return summary, pa.Table.from_pylist(failures, schema=schema.FAILURES)


def stand_in(replace: Callable[[Any, str, Any], None]) -> None:
    """Have the jobs embed like this, and do without Ray; `replace` is setattr, or one that undoes."""
    replace(jobs.run, "embed", embed)
    for job in (jobs.catalogue.identification, jobs.catalogue.calibrate):
        replace(job, "ray_session", lambda _: nullcontext())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(moment: str, arguments: Sequence[str]) -> None:
    write, commit = store.write_bytes, commits._write

    def write_or_die(path: str, data: bytes) -> None:
        if f"/{moment}/" in path:
            die()
        write(path, data)

    def commit_and_die(*anything: Any) -> None:
        commit(*anything)
        die()

    # Wherever the store writes: files of any kind, and tables.
    for module in (store, files, parquet_tables):
        module.write_bytes = write_or_die  # type: ignore[attr-defined]
    if moment == "commit":
        commits._write = commit_and_die
    stand_in(setattr)
    jobs.cli.run_command(None, arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
