"""How often is the verdict right, with labels and with the labels hidden?

    python tests/benchmarks/verdict.py --nyala nyala/ --out verdict.json

Sets: the built-in herd (packaged ImageNet weights), the nyala photographs where --nyala names their folder
(`annotations.csv`, or `--table` there), each as it is, as 150 images of 25 animals and thinned to two images an
individual; and made-up rows. The limits in `reid/verdict.py` were chosen on the sets marked `chosen`; the others
were looked at afterwards. Embeddings are kept in --cache. A verdict is right where it is `not usable` for an ARI
below 0.2 against the truth and only there, and `usable` for one of 0.5 at least.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.embedder import Embedder, embed_annotations
from reid.manifest import read_annotations
from reid.metrics import agreement
from reid.models import load_model
from reid.signs import read_signs
from reid.synthetic import make_herd
from reid.tune import Clustering, encode_labels, find_individuals, thin
from reid.verdict import POOR_ARI, Learned, judge
from tests.benchmarks.data import bench_rows
from tests.benchmarks.machine import instruction_set

RIGHT_ARI = 0.5  # a verdict of `usable` needs it
HERD_SEEDS = (0, 1, 2)
COLUMNS = ("identity", "encounter_id", "viewpoint", "image_path")


@dataclass(frozen=True)
class Set:
    """Rows whose individuals are known."""

    name: str
    chosen: bool  # the limits were chosen on it
    vectors: np.ndarray
    identity: np.ndarray  # codes of the truth
    columns: dict[str, np.ndarray] = field(default_factory=dict)  # codes, −1 = unknown

    def part(self, name: str, rows: np.ndarray) -> "Set":
        columns = {key: values[rows] for key, values in self.columns.items()}
        return Set(
            f"{self.name}, {name}", self.chosen, self.vectors[rows], self.identity[rows], columns
        )


def embedded(name: str, source: Path, root: Path | None, truth: dict[str, str], cache: Path) -> Set:
    """A table of images, embedded once by the packaged model."""
    kept = cache / f"{name}.npz"
    if not kept.exists():
        annotations, _ = read_annotations([str(source)], root=None if root is None else str(root))
        embedder = Embedder([load_model("efficientnet-lite0")], views=["identity", "hflip"])
        table, _ = embed_annotations(embedder, annotations)
        rows = {row["annotation_id"]: row for row in annotations.to_pylist()}
        own = [rows[one] for one in table["annotation_id"].to_pylist()]
        words = {key: [str(row[key] or "") for row in own] for key in COLUMNS}
        if truth:
            words["identity"] = [truth[row["image_path"]] for row in own]
        np.savez(kept, vectors=np.stack(table["embedding"].to_numpy()), **words)
    found = np.load(kept)
    codes = {
        key: encode_labels(np.array([word or None for word in found[key]], dtype=object))
        for key in COLUMNS
    }
    return Set(
        name,
        name == "herd 0" or name.startswith("nyala"),
        found["vectors"],
        codes.pop("identity"),
        codes,
    )


def photographs(args: argparse.Namespace) -> Iterator[Set]:
    for seed in HERD_SEEDS:
        folder = args.cache / f"herd-{seed}"
        if not (folder / "annotations.csv").exists():
            make_herd(folder, species=1, individuals=30, images_per_individual=8, seed=seed)
        with (folder / "truth.csv").open() as stream:
            truth = {row["image_path"]: row["identity"] for row in csv.DictReader(stream)}
        yield embedded(f"herd {seed}", folder / "annotations.csv", None, truth, args.cache)
    if args.nyala is not None:
        table = args.nyala / args.table
        name = "nyala"
        if args.most:
            name += f", {args.most} images"
            table = some_individuals(table, args.most, args.cache / "nyala.csv")
        yield embedded(name, table, args.nyala, {}, args.cache)


def some_individuals(table: Path, most: int, to: Path) -> Path:
    """A table of whole individuals, drawn at random, with so many images at most."""
    rows = pd.read_csv(table)
    drawn = np.random.default_rng(0).permutation(rows["identity"].unique())
    counts = rows["identity"].value_counts()[drawn].cumsum()
    rows[rows["identity"].isin(counts.index[counts <= most])].to_csv(to, index=False)
    return to


def few_animals(one: Set, seed: int) -> Set:
    """150 images of 25 animals, as a first survey may have them."""
    random = np.random.default_rng(seed)
    sizes = np.bincount(one.identity)
    animals = random.permutation(np.flatnonzero(sizes >= 4))[:25]
    rows = random.permutation(np.flatnonzero(np.isin(one.identity, animals)))[:150]
    return one.part(f"150 of 25, seed {seed}", np.sort(rows))


def made_up() -> Iterator[Set]:
    yield Set("made up", False, *bench_rows(500, 256, 1))
    random = np.random.default_rng(4)
    for spread in (0.5, 1.0, 2.0, 4.0):
        identity = np.repeat(np.arange(100), random.geometric(1 / 4, size=100))
        rows = random.normal(size=(100, 256))[identity]
        rows += spread * random.normal(size=rows.shape)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        yield Set(f"clouds, spread {spread:g}", False, rows.astype(np.float32), identity)


def all_sets(args: argparse.Namespace) -> Iterator[Set]:
    for one in photographs(args):
        yield one
        for seed in (0, 1):
            part = few_animals(one, seed)
            # The first sample of each was looked at when the limits were set.
            yield Set(
                part.name, one.chosen and seed == 0, part.vectors, part.identity, part.columns
            )
        yield one.part("thinned to two", thin(one.identity, 2.0, seed=0))
    yield from made_up()


def measure(one: Set, labelled: bool) -> dict[str, object]:
    """The verdict on the clusters that are found, with every second individual labelled or none."""
    random = np.random.default_rng(0)
    animals = random.permutation(int(one.identity.max()) + 1)
    known = np.isin(one.identity, animals[::2]) & labelled
    names = np.where(known, one.identity, -1).astype(object)
    names[~known] = None
    found = find_individuals(one.vectors, names, Clustering(method="auto"))
    signs = read_signs(
        one.vectors,
        found.labels,
        nearest=found.nearest,
        encounters=one.columns.get("encounter_id"),
        sides=one.columns.get("viewpoint"),
        images=one.columns.get("image_path"),
    )
    learned = None
    if found.threshold.expected is not None:
        several = int((np.bincount(one.identity[known]) > 1).sum())
        learned = Learned(found.threshold.expected, several)
    verdict = judge(signs, learned)
    ari = agreement(found.labels, one.identity).ari
    right = (verdict.level == "not usable") == (ari < POOR_ARI)
    if verdict.level == "usable":
        right = ari >= RIGHT_ARI
    return {
        "set": one.name, "chosen": one.chosen, "images": len(one.vectors), "labels": labelled,
        "ari": round(ari, 3), "level": verdict.level, "right": bool(right),
        "figures": {key: round(float(value), 3) for key, value in verdict.figures.items()},
    }  # fmt: skip


def options(told: str) -> argparse.ArgumentParser:
    """What sets are made of."""
    parser = argparse.ArgumentParser(description=told.split("\n", maxsplit=1)[0])
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/verdict"))
    parser.add_argument("--nyala", type=Path, help="folder of the photographs")
    parser.add_argument("--table", default="annotations.csv", help="the table in it")
    parser.add_argument(
        "--most", type=int, help="images of it, of whole individuals; all by default"
    )
    return parser


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for one in all_sets(args):
        for labelled in (True, False):
            rows.append(measure(one, labelled))
            print(json.dumps(rows[-1]), flush=True)
    summary = {}
    for chosen in (True, False):
        for labelled in (True, False):
            part = [row for row in rows if (row["chosen"], row["labels"]) == (chosen, labelled)]
            name = f"{'chosen on' if chosen else 'measured on'}, {'half labelled' if labelled else 'hidden'}"
            summary[name] = f"{sum(bool(row['right']) for row in part)} of {len(part)} right"
    worst = [row["ari"] for row in rows if row["level"] == "usable"]
    summary["least ARI called usable"] = min(worst, default=None)
    off = [
        abs(float(row["figures"]["expected_ari"]) - float(row["ari"]))
        for row in rows
        if "expected_ari" in row["figures"]
    ]
    summary["expected against reached ARI, half labelled: mean absolute difference"] = round(
        float(np.mean(off)), 3
    )
    print(json.dumps(summary, indent=2))
    if args.out:
        # What tests/benchmarks/night_verdicts.py measured stays.
        before = json.loads(args.out.read_text()) if args.out.exists() else {}
        written = {"machine": instruction_set(), **summary, "sets": rows}
        args.out.write_text(json.dumps(before | written, indent=2) + "\n")


if __name__ == "__main__":
    main()
