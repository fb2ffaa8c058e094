"""A catalogue that grows: what does each night cost, against the first and against all in one run?

    python tests/benchmarks/catalogue.py --out catalogue.json
    python tests/benchmarks/catalogue.py --n 20000 --nights 10

Made-up embeddings (`data.py`) come in nightly uploads of equal size; their vectors lie in the store as
the embedding stage leaves them. Timed for each night: reading the upload's rows and the catalogue,
`decide` (vectors read, new × all searched, edges written, everybody identified) with the search apart,
and `commit` (rows merged into the Delta table, events staged and published, what the next night needs
kept). Then all rows in one run on a new catalogue. Both must give the same individuals. Noted too: bytes
a row on disk, edges a row, and the peak memory of the process, from which the docs reckon larger catalogues.

New × all grows with the catalogue, so night k costs about k times the search of the first and the
total is that of all pairs; a search from scratch each night would cost a third of nights times more.
"""

import argparse
import contextlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

import jobs.catalogue.increments
from jobs.catalogue.decider import Decider
from jobs.common import outputs
from reid import embeddings, schema, store
from reid.catalogue import new_run_id, open_catalogue, update
from reid.config import load_config
from tests.benchmarks.data import bench_rows
from tests.benchmarks.versus import peak_bytes

RECIPE = "made-up"
KNOWN, NEW = 0.30, 0.38


def make_annotations(ids: list[str]) -> pa.Table:
    """The rows of an upload."""
    n = len(ids)
    values: dict[str, Any] = {
        "annotation_id": ids,
        "image_path": [f"night/{name}.jpg" for name in ids],
        "root": ["/uploads"] * n,
        "species": ["lynx"] * n,
        "source_key": ids,
    }
    return pa.table(
        [pa.array(values.get(one.name, [None] * n), one.type) for one in schema.ANNOTATIONS],
        schema=schema.ANNOTATIONS,
    )


def store_vectors(catalogue: Path, ids: list[str], rows: npt.NDArray[np.float32]) -> None:
    """As the embedding stage does."""
    dimension = rows.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), dimension)
    sizes = pa.array(np.ones(len(ids), np.int32))
    names, species = pa.array(ids), pa.array(["lynx"] * len(ids))
    kinds = schema.embeddings(dimension)
    times = [pa.nulls(len(ids), kinds.field(name).type) for name in kinds.names[7:]]
    table = pa.table([names, species, vectors, names, names, sizes, sizes, *times], schema=kinds)
    path = catalogue / "embeddings" / RECIPE / f"part-{embeddings.part_digest(ids)}.parquet"
    store.write_table(str(path), table)


@contextlib.contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Note what the search takes, of all that deciding does."""
    search = jobs.catalogue.increments.new_edges

    def timed_search(*arguments: Any, **options: Any) -> Iterator[Any]:
        found = search(*arguments, **options)
        while True:
            started = time.perf_counter()
            part = next(found, None)
            seconds["search"] = seconds.get("search", 0) + time.perf_counter() - started
            if part is None:
                return
            yield part

    jobs.catalogue.increments.new_edges = timed_search
    try:
        yield
    finally:
        jobs.catalogue.increments.new_edges = search


def night(catalogue: Path, ids: list[str], rows: npt.NDArray[np.float32]) -> dict[str, float]:
    """One upload; the seconds of its stages."""
    store_vectors(catalogue, ids, rows)
    overrides = [f"identify.known_distance={KNOWN}", f"identify.new_distance={NEW}"]
    config = load_config(None, overrides, {"identify": {"catalogue": str(catalogue)}})
    seconds: dict[str, float] = {}
    run_id = new_run_id()
    decider = Decider(config, run_id, make_annotations(ids), recipes={"lynx": RECIPE})

    def decide(opened: Any) -> Any:
        started = time.perf_counter()
        change = decider(opened)
        seconds["decide"] = time.perf_counter() - started
        return change

    started = time.perf_counter()
    with timed(seconds):
        decider.keep(update(open_catalogue(str(catalogue), create=True), run_id, decide))
    seconds["total"] = time.perf_counter() - started
    seconds["commit"] = seconds["total"] - seconds["decide"]
    outcome = decider.outcome.species["lynx"]
    return seconds | {"individuals": outcome.individuals, "edges": outcome.edges}


def individuals(catalogue: Path) -> set[frozenset[str]]:
    """Who is with whom."""
    rows = open_catalogue(str(catalogue)).rows(["annotation_id", "identity_id"]).to_pandas()
    return set(rows.groupby("identity_id")["annotation_id"].agg(frozenset))


def bytes_on_disk(catalogue: Path) -> dict[str, int]:
    """Of the vectors, and of all the rest: rows, edges and events, as they are and were."""
    sizes = {path: path.stat().st_size for path in catalogue.rglob("*") if path.is_file()}
    vectors = sum(n for path, n in sizes.items() if catalogue / "embeddings" in path.parents)
    return {"vectors": vectors, "rest": sum(sizes.values()) - vectors}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows, _ = bench_rows(args.n, args.dimension, args.seed)
    digits = np.random.default_rng(args.seed).permutation(args.n)
    ids = [f"{number:024x}" for number in digits.tolist()]
    with tempfile.TemporaryDirectory() as folder:
        grown, at_once = Path(folder) / "grown", Path(folder) / "at-once"
        each = []
        for number, part in enumerate(np.array_split(np.arange(args.n), args.nights), start=1):
            found = night(grown, [ids[k] for k in part], rows[part])
            each.append(found)
            print(
                f"night {number:2}: {found['total']:7.1f} s (search {found['search']:6.1f}, rest of deciding "
                f"{found['decide'] - found['search']:5.1f}, commit {found['commit']:5.1f}), "
                f"{found['individuals']:,} individuals",
                flush=True,
            )
        peak = {"nights": peak_bytes()}
        once = night(at_once, ids, rows)
        peak["at_once"] = peak_bytes()
        disk = {"nights": bytes_on_disk(grown), "at_once": bytes_on_disk(at_once)}
        same = individuals(grown) == individuals(at_once)
    total = sum(one["total"] for one in each)
    print(
        f"at once: {once['total']:.1f} s (search {once['search']:.1f}, commit {once['commit']:.1f}); all nights "
        f"{total:.1f} s, {total / once['total']:.2f} times that; last night {each[-1]['total'] / each[0]['total']:.1f} "
        f"times the first; the same individuals: {same}"
    )
    print(
        f"at once, for each row: {disk['at_once']['vectors'] / args.n:,.0f} B of vectors and "
        f"{disk['at_once']['rest'] / args.n:,.0f} B of tables on disk, {once['edges'] / args.n:.1f} edges; "
        f"peak memory {peak['at_once'] / 1e9:.2f} GB"
    )
    if args.out:
        figures = {
            "rows": args.n,
            "dimension": args.dimension,
            "nights": each,
            "at_once": once,
            "total_to_at_once": total / once["total"],
            "same_individuals": same,
            "bytes_on_disk": disk,
            "peak_bytes": peak,
            "machine": platform.processor() or platform.machine(),
            "versions": outputs.versions(),
        }
        args.out.write_text(json.dumps(figures, indent=2))
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
