"""SCAN against k-means and DBSCAN where few individuals have many images, and its speed at 10,000 rows.

    python tests/benchmarks/scan.py --work /tmp/scan --out docs/benchmarks/scan.json

Herds of 16 individuals × 60 images, three seeds, by two models: EfficientNet-Lite0 as it is packaged, and the same
fine-tuned by `reid finetune` on a fourth herd, ten of whose 48 individuals are held out. DBSCAN's ε is tuned on 16
individuals of a fifth herd, which neither trained the model nor are reported; beside it stands the best ε *against the
truth*, which no tuning can pass. SCAN and k-means are told that there are 16; SCAN over-clustered is told 32, and joins. Herds, checkpoint and
vectors stay in --work, and are made where they are not there.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.cluster import dbscan, kmeans
from reid.cluster.scan import NEIGHBOURS, scan
from reid.manifest import read_annotations
from reid.metrics import agreement
from reid.neighbors import knn, radius_graph
from reid.notebook import embed, tune_threshold
from reid.synthetic import make_herd
from tests.benchmarks.herd_difficulty import best_ari
from tests.benchmarks.machine import instruction_set

INDIVIDUALS, IMAGES = 16, 60
TRAINED, IMAGES_TRAINED, TRAINING_SEED, TUNING_SEED = 48, 10, 100, 200
TRAINING = (
    "finetune.input_size=160", "finetune.epochs=8", "finetune.freeze_stages=2", "finetune.validation_share=0",
    "finetune.promote=always", "embed.model=efficientnet-lite0",
)  # fmt: skip
LARGE, DIMENSION = 10_000, 512
SCORES = {"accuracy": "accuracy", "mean_recall": "mean_recall", "ari": "ARI", "nmi": "NMI"}
Floats = npt.NDArray[np.float32]


def herd_table(folder: Path, seed: int, individuals: int, images: int) -> Path:
    """A herd of one species, and a table of its images with all identities."""
    table = folder / "labelled.csv"
    if not table.exists():
        herd = make_herd(
            folder, individuals=individuals, images_per_individual=images, species=1, seed=seed
        )
        with herd.truth.open(encoding="utf-8") as file:
            named = {row["image_path"]: row["identity"] for row in csv.DictReader(file)}
        with herd.annotations.open(encoding="utf-8") as file:
            rows = [
                {**row, "identity": named[row["image_path"]], "split": ""}
                for row in csv.DictReader(file)
            ]
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return table


def checkpoint(work: Path) -> str:
    """EfficientNet-Lite0, fine-tuned on individuals that are in no other herd here."""
    out = work / "finetuned"
    if not (out / "checkpoint" / "model.json").exists():
        table = herd_table(work / "training", TRAINING_SEED, TRAINED, IMAGES_TRAINED)
        command = [sys.executable, "-m", "jobs", "finetune", "-i", str(table), "-o", str(out)]
        subprocess.run([*command, *TRAINING], check=True)
    return str(out / "checkpoint")


def vectors_of(work: Path, table: Path, name: str, model: str) -> tuple[Floats, list[str]]:
    """Unit rows of a herd by one model, and who is on each."""
    file = work / f"{table.parent.name}-{name}.npz"
    if not file.exists():
        rows, vectors, failures = embed(
            read_annotations([str(table)])[0], model, views=["identity"]
        )
        assert not len(failures), failures["error"][0]
        np.savez(file, vectors=vectors, names=np.asarray(rows["identity"].to_pylist()))
    with np.load(file) as stored:
        return stored["vectors"], stored["names"].tolist()


def measured(find: Callable[[], npt.NDArray[np.int64]], names: list[str]) -> dict[str, float]:
    """What a clustering took, and its scores against the truth."""
    started = time.perf_counter()
    labels = find()
    seconds = time.perf_counter() - started
    found = agreement(labels, np.asarray(names))
    own = len(np.unique(labels[labels >= 0])) + int((labels < 0).sum())
    return {**{key: getattr(found, key) for key in SCORES}, "clusters": own, "seconds": seconds}


def of_a_herd(
    vectors: Floats, names: list[str], seed: int, tuned: float
) -> dict[str, dict[str, float]]:
    """Every clustering of one herd; searching neighbours counts for each that needs them."""
    best = best_ari(vectors, names)[1]

    def learned(clusters: int, **options: bool) -> npt.NDArray[np.int64]:
        near, _ = knn(vectors, NEIGHBOURS)
        return scan(vectors, clusters, seed, neighbours=near, **options)

    def by_distance(eps: float) -> npt.NDArray[np.int64]:
        return dbscan(radius_graph(vectors, eps), eps)

    ways: dict[str, Callable[[], npt.NDArray[np.int64]]] = {
        "SCAN": lambda: learned(INDIVIDUALS),
        "SCAN, self-labelled": lambda: learned(INDIVIDUALS, self_label=True),
        "SCAN of 32, joined": lambda: learned(2 * INDIVIDUALS, over_cluster=True),
        "k-means": lambda: kmeans(vectors, INDIVIDUALS, seed),
        "DBSCAN, ε tuned on 16 others": lambda: by_distance(tuned),
        "DBSCAN, the best ε against the truth": lambda: by_distance(best),
    }
    return {name: measured(find, names) for name, find in ways.items()}


def speed() -> dict[str, float]:
    """Seconds of SCAN, its neighbours included, on 10,000 made-up rows of 512 values: by the clock, and of CPU."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(INDIVIDUALS, DIMENSION))[np.arange(LARGE) % INDIVIDUALS]
    rows = rows + rng.normal(size=rows.shape)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    started, used = time.perf_counter(), time.process_time()
    near, _ = knn(rows, NEIGHBOURS)
    scan(rows, INDIVIDUALS, 0, neighbours=near)
    return {"clock": time.perf_counter() - started, "cpu": time.process_time() - used}


def say_speed(result: dict[str, object]) -> None:
    """Measure, print, and note it."""
    took = speed()
    result["seconds_of_10000_rows"] = took
    print(
        f"\n{LARGE:,} rows × {DIMENSION}: {took['clock']:.1f} s, {took['cpu']:.1f} s of CPU (at most 60 asked)"
    )


def print_table(found: list[dict[str, dict[str, float]]]) -> None:
    """As Markdown: mean ± spread over the herds."""
    print(
        f"| | {' | '.join(SCORES.values())} | clusters | seconds |\n|{' --- |' * (len(SCORES) + 3)}"
    )
    for name in found[0]:
        cells = []
        for key in SCORES:
            values = [one[name][key] for one in found]
            cells.append(f"{statistics.mean(values):.2f} ± {statistics.pstdev(values):.2f}")
        clusters = [round(one[name]["clusters"]) for one in found]
        cells += [", ".join(map(str, clusters))]
        cells += [f"{statistics.mean(one[name]['seconds'] for one in found):.1f}"]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, help="where herds, checkpoint and vectors stay")
    parser.add_argument(
        "--only-speed", action="store_true", help="of 10,000 rows; --out keeps the rest"
    )
    parser.add_argument("--out", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    result: dict[str, object] = {
        "machine": instruction_set(),
        "herd": {"individuals": INDIVIDUALS, "images_each": IMAGES, "seeds": arguments.seeds},
        "training": {"individuals": TRAINED, "images_each": IMAGES_TRAINED, "settings": TRAINING},
    }

    def write() -> None:
        if arguments.out:
            text = json.dumps(result, indent=1, ensure_ascii=False)
            arguments.out.write_text(text + "\n", encoding="utf-8")

    if arguments.only_speed:
        if arguments.out and arguments.out.exists():
            result = json.loads(arguments.out.read_text(encoding="utf-8"))
        say_speed(result)
        write()
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        tables = {
            seed: herd_table(work / f"herd-{seed}", seed, INDIVIDUALS, IMAGES)
            for seed in [*arguments.seeds, TUNING_SEED]
        }
        for name, model in (("lite0", "efficientnet-lite0"), ("finetuned", checkpoint(work))):
            rows = {seed: vectors_of(work, table, name, model) for seed, table in tables.items()}
            others, whose = rows.pop(TUNING_SEED)
            eps = tune_threshold(others, whose, method="dbscan").eps
            assert eps is not None
            found = [
                of_a_herd(vectors, names, seed, eps) for seed, (vectors, names) in rows.items()
            ]
            print(f"\n{name}, ε of the others {eps:.3f}\n")
            print_table(found)
            result[name] = {"tuned_eps": eps, "found": found}
            write()
    say_speed(result)
    write()


if __name__ == "__main__":
    main()
