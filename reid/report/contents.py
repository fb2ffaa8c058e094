"""The table of annotations turned into what the page's script reads: short columns of numbers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from reid.metrics.similarity_bins import binned_similarities
from reid.report.data import OPTIONAL_COLUMNS, ReportData, TuningCurve
from reid.report.projection import TSNE_MINIMUM, project

FIRST_IMAGES = 16  # of a cluster: shown before the reader asks for the rest
JUDGED_BY = 4  # images of a cluster: enough to see whether it holds together
CURVE_POINTS = 400
TSNE_DRAWN = 5_000  # images: every report is made in a minute
HEATMAP_CELLS = 96  # of a side: a telephone shows no more
MOST_HEATMAPS = 12  # species, the largest

Layout = Callable[..., np.ndarray]


def groups(annotations: pd.DataFrame) -> pd.DataFrame:
    """Group number and size of each annotation: a cluster of one species, or an image on its own.

    Returns:
        Indexed 0 … n − 1: `group` (int, equal for images of one cluster), `size` (of the group),
        `rank` (place within it), `single` (noise, or a cluster of one), `distance` (to the nearest
        other image, NaN where there is none).
    """
    n = len(annotations)
    cluster = annotations["cluster"].to_numpy(np.int64)
    species = pd.factorize(annotations["species"])[0].astype(np.int64)
    # Noise rows are groups of one: each takes a negative number of its own.
    key = np.where(cluster < 0, -1 - np.arange(n), cluster)
    frame = pd.DataFrame({"species": species, "key": key})
    keys = frame.groupby(["species", "key"], sort=False)
    frame["group"] = keys.ngroup()
    frame["size"] = keys["key"].transform("size")
    frame["rank"] = keys.cumcount()
    frame["single"] = frame["size"] == 1
    frame["distance"] = annotations["nearest_distance"].to_numpy(np.float64, na_value=np.nan)
    return frame[["group", "size", "rank", "single", "distance"]]


def by_importance(grouped: pd.DataFrame) -> np.ndarray:
    """Row numbers, (n,) int64: what the page keeps when it cannot keep everything.

    A few images of every cluster, largest first; then the images that stand alone, the nearest to
    another image first; then more of every cluster; then the rest of the large ones.
    """
    rank, single = grouped["rank"].to_numpy(), grouped["single"].to_numpy(bool)
    size, group = grouped["size"].to_numpy(), grouped["group"].to_numpy()
    tier = np.select([single, rank < JUDGED_BY, rank < FIRST_IMAGES], [1, 0, 2], 3)
    closeness = np.where(single, grouped["distance"].to_numpy(), 0.0)  # NaN sorts last
    return np.lexsort((rank, group, -size, closeness, tier))


def page_data(
    data: ReportData, grouped: pd.DataFrame, rows: np.ndarray, *, layout: Layout = project
) -> dict[str, Any]:
    """What the script reads, for the `rows` that the page keeps (sorted row numbers)."""
    table = data.annotations.iloc[rows].reset_index(drop=True)
    kept = grouped.iloc[rows].reset_index(drop=True)
    place = {name: i for i, name in enumerate(table["annotation_id"])}
    species, species_names = _codes(table["species"])
    identity, identity_names = _codes(table["identity"])
    columns: dict[str, Any] = {
        "path": [str(path) for path in table["image_path"]],
        "species": species,
        "identity": identity,
        "nearest": [place.get(name, -1) for name in table["nearest_id"]],
        "distance": [round(float(d), 4) if np.isfinite(d) else None for d in kept["distance"]],
    }
    for name in OPTIONAL_COLUMNS:
        if name in table.columns and bool(table[name].notna().any()):
            columns[name], columns[f"{name}_names"] = _codes(table[name])
    return {
        "rows": columns,
        "species": species_names,
        "identities": identity_names,
        "clusters": _clusters(table, kept),
        "singletons": _singletons(kept),
        "maps": _maps(data, rows, table["species"], layout, kept),
        "tuning": [_curve(curve) for curve in data.tuning],
        "pairs": [
            {
                "a": place[one.a_id],
                "b": place[one.b_id],
                "probability": round(one.probability, 3),
                "evidence": one.evidence.as_dict(),
            }
            for one in data.pairs
            if one.a_id in place and one.b_id in place
        ],
    }


def widest_layout(vectors: np.ndarray, _method: str, *, seed: int) -> np.ndarray:  # noqa: ARG001
    """Stands in for `project` while the page is measured: no coordinate is written longer."""
    return np.full((len(vectors), 2), -0.1234, np.float32)


def tsne_left_out(data: ReportData, rows: np.ndarray) -> list[str]:
    """One sentence for each species whose t-SNE is not drawn because it is too large."""
    if data.embeddings is None:
        return []
    sizes = data.annotations["species"].iloc[rows].value_counts(sort=False)
    return [
        f"The t-SNE map of {species}: it has {size:,} images and t-SNE is drawn up to "
        f"{TSNE_DRAWN:,}; its PCA map is there."
        for species, size in sizes.items()
        if size > TSNE_DRAWN
    ]


def _codes(column: pd.Series) -> tuple[list[int], list[str]]:
    """Codes (−1 for null) and the names they stand for."""
    codes, names = pd.factorize(column)
    return codes.tolist(), [str(name) for name in names]


def _clusters(table: pd.DataFrame, kept: pd.DataFrame) -> list[dict[str, Any]]:
    """Clusters of two images and more, largest first."""
    shared = kept[~kept["single"]]
    clusters = [
        {
            "label": str(table["cluster_label"].iloc[int(members.index[0])]),
            "size": int(members["size"].iloc[0]),
            "rows": [int(i) for i in members.index],
        }
        for _, members in shared.groupby("group", sort=True)
    ]
    return sorted(clusters, key=lambda cluster: -cluster["size"])


def _singletons(kept: pd.DataFrame) -> list[int]:
    """Images that stand alone, the nearest to another image first: they are worth a second look."""
    alone = kept.index[kept["single"]].to_numpy()
    distance = kept["distance"].to_numpy()[alone]
    return [int(i) for i in alone[np.argsort(distance, kind="stable")]]  # NaN sorts last


def _maps(
    data: ReportData, rows: np.ndarray, species: pd.Series, layout: Layout, kept: pd.DataFrame
) -> list[dict[str, Any]]:
    """One map a species, with its similarities; one of all of them where they share a model."""
    if data.embeddings is None:
        return []
    names = [str(name) for name in species.unique()]
    everything = data.annotations["species"].to_numpy()
    largest = {str(name) for name in species.value_counts().index[:MOST_HEATMAPS]}
    maps = []
    for name in names:
        here = np.flatnonzero(species.to_numpy() == name)
        if isinstance(data.embeddings, Mapping):
            of_species = np.flatnonzero(everything == name)
            vectors = data.embeddings[name][np.searchsorted(of_species, rows[here])]
        else:
            vectors = data.embeddings[rows[here]]
        made = _map(name, here, vectors, data.seed, layout)
        group = np.where(kept["single"], -1, kept["group"])[here]
        maps.append(
            {**made, "similarities": _similarities(vectors, group) if name in largest else None}
        )
    if len(names) > 1 and not isinstance(data.embeddings, Mapping):
        made = _map(None, np.arange(len(rows)), data.embeddings[rows], data.seed, layout)
        maps.insert(0, {**made, "similarities": None})
    return maps


def _map(
    name: str | None, here: np.ndarray, vectors: np.ndarray, seed: int, layout: Layout
) -> dict[str, Any]:
    tsne = TSNE_MINIMUM <= len(vectors) <= TSNE_DRAWN
    return {
        "species": name,
        "rows": here.tolist(),
        "pca": _coordinates(layout(vectors, "pca", seed=seed)),
        "tsne": _coordinates(layout(vectors, "tsne", seed=seed)) if tsne else None,
    }


def _similarities(vectors: np.ndarray, group: np.ndarray) -> dict[str, Any] | None:
    """Mean similarities of bins of rows by cluster: the lower triangle, in hundredths, to keep the page small."""
    if len(vectors) < 2:
        return None
    found = binned_similarities(vectors, group, HEATMAP_CELLS)
    percent = np.round(100 * found.mean).astype(int)
    return {
        "order": found.order.tolist(),  # places in the map's rows
        "ends": found.ends.tolist(),
        "percent": [percent[i, : i + 1].tolist() for i in range(len(percent))],
    }


def _coordinates(plane: np.ndarray) -> list[list[float]]:
    return [[round(float(value), 4) for value in plane[:, axis]] for axis in (0, 1)]


def _curve(curve: TuningCurve) -> dict[str, Any]:
    """The curve with at most CURVE_POINTS points, the best, the chosen and both ends among them."""
    thresholds = np.asarray(curve.thresholds, np.float64)
    scores = np.asarray(curve.scores, np.float64)
    keep = np.flatnonzero(np.isfinite(scores))
    chosen = None
    if len(keep):
        nearest = int(np.argmin(np.abs(thresholds[keep] - curve.eps)))
        chosen = float(scores[keep[nearest]])
        if len(keep) > CURVE_POINTS:
            even = np.linspace(0, len(keep) - 1, CURVE_POINTS - 2).round().astype(np.int64)
            keep = keep[np.union1d(even, [nearest, int(np.argmax(scores[keep]))])]
    return {
        "eps": float(curve.eps),
        "chosen": chosen,
        "criterion": curve.criterion,
        "thresholds": [round(float(t), 5) for t in thresholds[keep]],
        "scores": [round(float(s), 5) for s in scores[keep]],
    }
