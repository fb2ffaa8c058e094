"""What a notebook does step by step, in its own process: images → vectors → threshold → clusters.

`import reid` offers these, and functions of other modules, under one name (see `reid/__init__.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from reid.embedder import Embedder, embed_annotations
from reid.errors import InputError
from reid.layout import Window
from reid.models import load_model
from reid.neighbors import check_unit_rows
from reid.tune import Clustering, Threshold, can_tune, encode_labels, find_individuals
from reid.tune.threshold import Method

__all__ = ["EmbeddedTable", "cluster_rows", "embed", "join_vectors", "tune_threshold"]


class EmbeddedTable(NamedTuple):
    """What became of annotations.

    Attributes:
        rows: the annotations that have a vector (schema.ANNOTATIONS), in the order they came.
        vectors: (n, d) float32, unit rows, one for each of `rows`.
        failures: the others, and why (schema.FAILURES).
    """

    rows: pa.Table
    vectors: NDArray[np.float32]
    failures: pa.Table


def embed(
    annotations: pa.Table,
    model: str | Sequence[str] = "efficientnet-lite0",
    *,
    views: Sequence[str] = ("identity", "hflip"),
    window: Window | None = None,
    bbox_margin: float = 0.0,
    device: str = "cpu",
    threads: int = 2,
) -> EmbeddedTable:
    """Embed images in this process, without Ray; `reid embed` does the same for many, and goes on where it was.

    Args:
        annotations: as of `read_annotations`.
        model: a name of `reid models`, a checkpoint's folder, or several as an ensemble.
        views: averaged for each image; leave `hflip` out where flanks must not be confused.
        window: left, top, right, bottom, as shares of the crop; None: all of it.
        bbox_margin: around a box, as a share of its sides.
        device: cpu, cuda or cuda:<n>.
        threads: that decode, and that the model uses on a CPU.

    Raises:
        InputError: an unknown model or view, weights that are not on this machine, or no image could be embedded.
    """
    names = [model] if isinstance(model, str) else list(model)
    loaded = [load_model(name, device=device) for name in names]
    embedder = Embedder(loaded, views=views, device=device, threads=threads)
    table, failures = embed_annotations(
        embedder, annotations, threads=threads, window=window, bbox_margin=bbox_margin
    )
    if not len(table):
        first = failures["error"][0].as_py() if len(failures) else "there are none"
        raise InputError(
            f"none of {len(annotations):,} images could be embedded; the first: {first}"
        )
    ids = annotations["annotation_id"].combine_chunks()
    rows = annotations.take(pc.index_in(table["annotation_id"], value_set=ids))
    flat = table["embedding"].combine_chunks().flatten().to_numpy()
    return EmbeddedTable(rows, flat.reshape(len(table), -1), failures)


def join_vectors(
    *vectors: NDArray[np.float32], weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """One vector a row from those of several models: the cosine is the weighted mean of theirs.

    Args:
        vectors: each (n, d_k) float32, unit rows of the same images in the same order.
        weights: above 0, one a model; equal if not given.

    Returns:
        (n, Σ d_k) float32, unit rows.

    Raises:
        InputError: other numbers of rows, rows that are not unit, or weights that do not fit.
    """
    lengths = [len(one) for one in vectors]
    shares = [1.0] * len(vectors) if weights is None else [float(one) for one in weights]
    if not vectors or len(set(lengths)) > 1:
        raise InputError(f"join_vectors: {lengths} rows; give the same rows of one model or more")
    if len(shares) != len(vectors) or min(shares) <= 0:
        raise InputError(
            f"join_vectors: weights {shares} for {len(vectors)} models; give one above 0 for each"
        )
    for one in vectors:
        check_unit_rows(one)
    parts = [
        one * np.float32((share / sum(shares)) ** 0.5)
        for one, share in zip(vectors, shares, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def tune_threshold(
    vectors: NDArray[np.float32],
    identities: ArrayLike,
    *,
    method: Method = "auto",
    asked: Clustering | None = None,
) -> Threshold:
    """The best of all thresholds for known individuals of one species, judged on individuals held out.

    Args:
        vectors: (n, d) float32, unit rows.
        identities: (n,) names; None, NaN or −1 is unknown.
        method: `auto` takes DBSCAN or average linkage, the better on held-out individuals.
        asked: everything else that can be asked for; instead of `method`.

    Returns:
        `eps`, `method`, `score` on all labels, `held_out` mean and spread, `thresholds` and `scores` of the curve.

    Raises:
        InputError: too few labelled individuals, or a method without a threshold.
    """
    names = np.asarray(identities)
    if not can_tune(names):
        codes = encode_labels(names)
        raise InputError(
            f"{int((codes >= 0).sum())} labelled images of {int(codes.max(initial=-1)) + 1} individuals are too few "
            "to tune a threshold on some and judge it on others; give cluster_rows a threshold, or none: it is "
            "then estimated from the rows alone"
        )
    found = find_individuals(vectors, names, asked or Clustering(method=method)).threshold
    if found.source != "tuned":
        raise InputError(f"nothing to tune: {found.note}")
    return found


def cluster_rows(
    vectors: NDArray[np.float32],
    threshold: Threshold | float | None = None,
    *,
    method: Method | None = None,
    min_samples: int = 2,
    n_clusters: int | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """The individuals among the rows of one species.

    Args:
        vectors: (n, d) float32, unit rows.
        threshold: of `tune_threshold` (with its method and re-ranking), or a cosine distance; None:
            estimated from these rows alone, or not needed by the method.
        method: dbscan (the default), average, complete; kmeans and scan with `n_clusters`; hdbscan.
        min_samples: images, itself included, that make a core point of DBSCAN.
        n_clusters: number of individuals, for kmeans and scan.
        seed: of what is drawn.

    Returns:
        (n,) int64, −1 is an image on its own.

    Raises:
        InputError: settings that do not fit together.
    """
    tuned, eps = None, None
    if isinstance(threshold, Threshold):
        tuned = threshold
    elif threshold is not None:
        eps = float(threshold)
    if tuned is not None and method not in (None, tuned.method):
        raise InputError(
            f"cluster_rows: the threshold was tuned for {tuned.method}, and method is {method}; leave method out"
        )
    asked = Clustering(
        method=method or "dbscan",
        eps=eps,
        min_samples=min_samples,
        n_clusters=n_clusters,
        seed=seed,
    )
    nobody = np.full(len(vectors), None, dtype=object)
    return find_individuals(vectors, nobody, asked, fallback=tuned).labels
