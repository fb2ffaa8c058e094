"""A night of some new images on a large catalogue: what does it cost, the search left out?

    python tests/benchmarks/nights.py --out docs/benchmarks/nights.json
    python tests/benchmarks/nights.py --n 100000 1000000 --new 2000

All pairs of a million images take an hour of two cores, and are not what is asked here. Made-up individuals
(`data.py`) come in families that lie far from each other, so that all near pairs are found within the
families, exactly; in place of the search stands a look-up in these. All else is `reid identify` as it is:
the upload compared with the catalogue, vectors read, edges written, individuals, names, events, decisions,
the commit and its seal. What is left of `search` is the reading of all vectors, which no search does without.
The known rows come in portions, past two million best --by-family; the night in a process of its own, whose
CPU seconds and peak memory (over what Python and its libraries need before) are noted, and what each stage takes.

Sizes that the file has already are not measured again (`--again` does), and it is written after each. Beside
the file lies a picture of the same name.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

import jobs.catalogue.identification
import jobs.catalogue.increments
from jobs.common import outputs
from jobs.common.embedded import EmbedSummary
from reid import schema
from reid.config import load_config
from reid.identify import same_bits, search_radius
from reid.sources import Reading
from tests.benchmarks.catalogue import KNOWN, NEW, RECIPE, make_annotations, store_vectors
from tests.benchmarks.data import FAMILY_SIZE, bench_rows
from tests.benchmarks.machine import instruction_set
from tests.benchmarks.versus import peak_bytes

PART_ROWS = 65536
PAIRS_AT_ONCE = 2**20


def near_pairs(
    rows: npt.NDArray[np.float32], family: npt.NDArray[np.int64], radius: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """All pairs of one family within the radius, as the search finds them: (m, 2), i < j, and (m,)."""
    order = np.argsort(family, kind="stable").astype(np.int32)
    cuts = np.flatnonzero(np.diff(family[order])) + 1
    least = np.float32(1 - search_radius(radius))
    found = []
    for members in np.split(order, cuts):
        likeness = rows[members] @ rows[members].T
        i, j = np.nonzero(np.triu(likeness >= least, 1))
        found.append(np.sort(np.stack([members[i], members[j]], axis=1), axis=1))
    pairs = np.concatenate(found).astype(np.int32)
    return same_bits(rows, rows, 0, 0, (pairs, np.empty(len(pairs), np.float32)), radius=radius)


def key_of(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """By which a row is told from all others, wherever it lies."""
    return np.ascontiguousarray(rows[:, :2]).view(np.int64)[:, 0]


class LookUp:
    """In place of the search: the pairs are known, and only numbered as the search would."""

    def __init__(self, folder: Path) -> None:
        self.keys, self.pairs, self.distances = (
            np.load(folder / f"{name}.npy") for name in ("keys", "pairs", "distances")
        )
        self.order = np.argsort(self.keys)
        self.seconds = self.cpu = 0.0

    def __call__(
        self, _config: Any, _name: str, vectors: Any, new_from: int, *_: Any, **__: Any
    ) -> Iterator[Any]:
        started, cpu = time.perf_counter(), time.process_time()
        row = self.order[np.searchsorted(self.keys, key_of(vectors), sorter=self.order)]
        place = np.full(len(self.keys), -1, np.int32)
        place[row] = np.arange(len(row))
        found = []
        for start in range(0, len(self.pairs), PAIRS_AT_ONCE):  # so that the look-up needs little
            part = slice(start, start + PAIRS_AT_ONCE)
            a, b = np.sort(place[self.pairs[part]], axis=1).T
            here = np.flatnonzero((a >= 0) & (b >= new_from))
            found.append((np.stack([a[here], b[here]], axis=1), self.distances[part][here]))
        self.seconds += time.perf_counter() - started
        self.cpu += time.process_time() - cpu
        yield from found


def identify(folder: Path, ids: list[str]) -> dict[str, float]:
    """`reid identify` of these images, whose embeddings lie there already; its costs."""
    given = {name: np.zeros(len(ids), bool) for name in ("identity", "encounter_id", "viewpoint")}
    annotations = make_annotations(ids)
    for name in annotations.column_names:
        given.setdefault(name, np.zeros(len(ids), bool))
    reading = Reading(annotations, schema.FAILURES.empty_table(), [], given)
    overrides = [f"identify.known_distance={KNOWN}", f"identify.new_distance={NEW}"]
    overrides += ["input=[/uploads]"]
    config = load_config(None, overrides, {"identify": {"catalogue": str(folder / "catalogue")}})
    search = LookUp(folder)
    jobs.catalogue.increments.new_edges = search
    jobs.catalogue.identification.read_upload = lambda _: reading
    summary = EmbedSummary(annotations=len(ids), recipes={"lynx": RECIPE})
    base = peak_bytes()
    started, cpu = time.perf_counter(), time.process_time()
    jobs.catalogue.identification.identify(
        config, lambda *_: (summary, schema.FAILURES.empty_table()), lambda *_: None
    )
    found = {
        "seconds": time.perf_counter() - started - search.seconds,
        "cpu_seconds": time.process_time() - cpu - search.cpu,
        "look_up_seconds": search.seconds,
        "peak_bytes": peak_bytes() - base,
    }
    newest = sorted((folder / "catalogue" / "runs").iterdir())[-1]
    told = json.loads((newest / "summary.json").read_text())["identify"]
    return found | {"stage_seconds": told["stage_seconds"], "species": told["species"]["lynx"]}


def make(
    folder: Path, known: int, n: int, dimension: int, seed: int, *, by_family: bool = False
) -> None:
    """Rows, their near pairs, and their vectors where the embedding stage leaves them.

    `by_family`: known rows come family by family, those of the night are of any; else all come in random order.
    """
    rows, individual = bench_rows(n, dimension, seed)
    if by_family:  # rows are in random order: the last ones are of any family
        order = np.argsort(individual[:known], kind="stable")
        rows[:known], individual[:known] = rows[order], individual[order]
    pairs, distances = near_pairs(rows, individual // FAMILY_SIZE, NEW)
    keys = key_of(rows)
    assert len(np.unique(keys)) == n
    for name, values in {"keys": keys, "pairs": pairs, "distances": distances}.items():
        np.save(folder / f"{name}.npy", values)
    ids = [f"{number:024x}" for number in np.random.default_rng(seed).permutation(n).tolist()]
    (folder / "ids.json").write_text(json.dumps(ids))
    cuts = [*range(0, known, PART_ROWS), known, n]
    for start, stop in pairwise(cuts):
        store_vectors(folder / "catalogue", ids[start:stop], rows[start:stop])


def child(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--folder", str(folder), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}


def measure(folder: Path, n: int, args: argparse.Namespace) -> dict[str, Any]:
    """A catalogue of n rows, made as far as it is not there; and one night on it."""
    size = ["--n", str(n), "--new", str(args.new), "--dimension", str(args.dimension)]
    size += ["--seed", str(args.seed)] + ["--by-family"] * args.by_family
    if not (folder / "ids.json").exists():
        child(folder, "--part", "make", *size)
    known = []
    for start in range(0, n, args.portion):
        stop = min(n, start + args.portion)
        rows = ["--rows", str(start), str(stop)]
        known.append({"rows": stop} | child(folder, "--part", "identify", *rows, *size))
    load = os.getloadavg()[0]
    night = child(folder, "--part", "identify", "--rows", str(n), str(n + args.new), *size)
    return {
        "rows": n,
        "new": args.new,
        "dimension": args.dimension,
        "by_family": args.by_family,
        "known": known,
        "night": night,
        "load_before": load,
        "machine": instruction_set(),
    }


def draw(figures: list[dict[str, Any]], path: Path) -> None:
    """Known rows against seconds and memory of a night, a line for each upload, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for new in sorted({one["new"] for one in figures}):
        own = sorted((one for one in figures if one["new"] == new), key=lambda one: one["rows"])
        sizes, nights = [one["rows"] for one in own], [one["night"] for one in own]
        name = f"{new:,} new images"
        (line,) = left.plot(sizes, [one["cpu_seconds"] for one in nights], "o-", label=name)
        decided = [one["stage_seconds"]["decide"] for one in nights]
        left.plot(sizes, decided, "o--", color=line.get_color(), label="of these, to decide")
        right.plot(sizes, [one["peak_bytes"] / 1e9 for one in nights], "o-", label=name)
    for axes, label in ((left, "CPU seconds without the search"), (right, "peak memory, GB")):
        axes.set(xscale="log", yscale="log", xlabel="known rows", ylabel=label)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--n", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--new", type=int, default=2000, help="images of the night")
    parser.add_argument(
        "--portion", type=int, default=1_000_000, help="known rows that come at once"
    )
    parser.add_argument(
        "--by-family",
        action="store_true",
        help="known rows come family by family, so that no portion of a catalogue that is past memory "
        "touches what another has brought; those of the night are of any family",
    )
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="measure sizes that are there, too")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=("make", "identify"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "make":
        n = args.n[0]
        make(args.folder, n, n + args.new, args.dimension, args.seed, by_family=args.by_family)
        return 0
    if args.part:
        ids = json.loads((args.folder / "ids.json").read_text())[slice(*args.rows)]
        print("\n" + json.dumps(identify(args.folder, ids)))
        return 0
    told = json.loads(args.out.read_text()) if args.out and args.out.exists() else {}
    figures = told.get("nights", [])
    for n in args.n:
        there = [one for one in figures if (one["rows"], one["new"]) == (n, args.new)]
        if there and not args.again:
            continue
        with contextlib.ExitStack() as stack:
            folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            one = measure(folder, n, args)
        night = one["night"]
        print(
            f"{n:,} known, {one['new']:,} new: {night['seconds']:.1f} s, {night['cpu_seconds']:.1f} CPU s, "
            f"{night['peak_bytes'] / n:,.0f} bytes a known row; {night['stage_seconds']}",
            flush=True,
        )
        figures = sorted(
            [one, *(other for other in figures if other not in there)],
            key=lambda one: (one["new"], one["rows"]),
        )
        if args.out:
            told |= {"nights": figures, "versions": outputs.versions()}
            args.out.write_text(json.dumps(told, indent=2) + "\n")
            draw(figures, args.out.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
