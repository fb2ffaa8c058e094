"""What must not change unnoticed: public names, and results on made-up rows. Writes the files beside it.

    python tests/golden/make.py

Run it after a change that is meant, and look at the difference before it is committed.
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
# Run as a script, so that the repository can be imported, installed or not.
sys.path.insert(0, str(HERE.parents[1]))


def public_names() -> dict[str, list[str]]:
    """Package of the library → the names that it offers."""
    import reid

    found = {"reid": sorted(reid.__all__)}
    for module in pkgutil.iter_modules(reid.__path__, "reid."):
        if module.ispkg and module.name != "reid.templates":
            found[module.name] = sorted(
                getattr(importlib.import_module(module.name), "__all__", [])
            )
    return found


def animals(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """60 unit rows of 12 individuals, and who they are; half of them without a name."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(12), 5)
    rows = random.normal(size=(12, 16))[who] + 0.35 * random.normal(size=(60, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = np.asarray([f"animal {k}" if i % 2 else None for i, k in enumerate(who)], dtype=object)
    return rows.astype(np.float32), names


def results() -> dict[str, Any]:
    """Thresholds, clusters, neighbours and figures of these rows; floats to six places."""
    from reid import metrics
    from reid.rerank import rerank
    from reid.tune import Clustering, find_individuals

    rows, names = animals()
    nobody = np.full(len(rows), None, dtype=object)
    found: dict[str, Any] = {}
    for case, who, asked in (
        ("dbscan, half labelled", names, Clustering()),
        ("auto, half labelled", names, Clustering(method="auto")),
        ("re-ranked, half labelled", names, Clustering(rerank="on")),
        ("dbscan, no labels", nobody, Clustering()),
        ("min_samples 3, given threshold", nobody, Clustering(eps=0.2, min_samples=3)),
    ):
        one = find_individuals(rows, who, asked)
        found[case] = {
            "eps": round(float(one.threshold.eps or 0), 6),
            "method": one.threshold.method,
            "note": one.threshold.note,
            "labels": one.labels.tolist(),
            "nearest": one.nearest.tolist(),
            "nearest_distance": np.round(one.nearest_distance, 6).tolist(),
        }
    graph = rerank(rows, 5)
    found["re-ranked distances"] = np.round(np.sort(graph.distances)[:50], 6).tolist()
    everyone = np.asarray([f"animal {k}" for k in np.repeat(np.arange(12), 5)], dtype=object)
    scores = metrics.retrieval(rows, everyone)
    found["retrieval"] = {
        "mAP": round(float(scores.mean_average_precision), 6),
        "top-1": round(float(scores.top_1), 6),
    }
    return found


FILES = {"public_names.json": public_names, "results.json": results}


def main() -> None:
    for name, make in FILES.items():
        text = json.dumps(make(), indent=1, ensure_ascii=False, sort_keys=True)
        (HERE / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
