"""Re-identification of animals: from images to individuals. Imports no Ray.

A notebook needs about a dozen functions, all of them here, arrays in and arrays or tables out:

    rows, vectors, failures = reid.embed(reid.read_annotations(["metadata.csv"])[0])
    names = np.asarray(rows["identity"].to_pylist(), dtype=object)
    threshold = reid.tune_threshold(vectors, names)
    labels = reid.cluster_rows(vectors, threshold)
    print(reid.agreement(labels, names).ari)

`reid.tune`, `reid.cluster` and `reid.rerank` are modules, and hold everything else; hence the longer names.
A function's module is loaded when the function is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reid.exports.submission import fill_submission
    from reid.manifest import read_annotations
    from reid.metrics.agreement import agreement
    from reid.metrics.evaluation import evaluate
    from reid.metrics.retrieval import retrieval
    from reid.metrics.scored_pairs import pair_similarity
    from reid.neighbors.graph import radius_graph
    from reid.neighbors.knn import knn
    from reid.notebook import cluster_rows, embed, join_vectors, tune_threshold
    from reid.rerank import rerank as rerank_graph
    from reid.synthetic import make_herd

__version__ = "0.1.0"

# Name → its module, and what it is called there.
_HOMES = {
    "agreement": ("metrics", "agreement"),
    "cluster_rows": ("notebook", "cluster_rows"),
    "embed": ("notebook", "embed"),
    "evaluate": ("metrics", "evaluate"),
    "fill_submission": ("exports.submission", "fill_submission"),
    "join_vectors": ("notebook", "join_vectors"),
    "knn": ("neighbors", "knn"),
    "make_herd": ("synthetic", "make_herd"),
    "pair_similarity": ("metrics.scored_pairs", "pair_similarity"),
    "radius_graph": ("neighbors", "radius_graph"),
    "read_annotations": ("manifest", "read_annotations"),
    "rerank_graph": ("rerank", "rerank"),
    "retrieval": ("metrics", "retrieval"),
    "tune_threshold": ("notebook", "tune_threshold"),
}

__all__ = [
    "agreement",
    "cluster_rows",
    "embed",
    "evaluate",
    "fill_submission",
    "join_vectors",
    "knn",
    "make_herd",
    "pair_similarity",
    "radius_graph",
    "read_annotations",
    "rerank_graph",
    "retrieval",
    "tune_threshold",
]


def __getattr__(name: str) -> Any:
    """The function of that name, from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(
            f"module 'reid' has no attribute {name!r}; it offers {', '.join(__all__)}"
        )
    module, own = _HOMES[name]
    found = getattr(importlib.import_module(f"reid.{module}"), own)
    globals()[name] = found  # asked for once
    return found


def __dir__() -> list[str]:
    """What completion in a notebook shows."""
    return sorted({*globals(), *__all__})
