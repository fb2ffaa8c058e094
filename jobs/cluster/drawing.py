"""`reid figures`: what an output folder holds, as figures for a paper."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from jobs.cluster.groups import Group, read_clusters, read_groups
from jobs.cluster.token_pictures import token_pictures, windowed
from jobs.common import outputs
from jobs.common.console import print_result, progress, say
from jobs.common.pictures import crops
from reid import drawings, store
from reid.cluster.naming import species_words
from reid.config import Config
from reid.drawings.picture_sheets import SIDE_PX, Pair
from reid.errors import InputError
from reid.metrics.neighbour_shares import neighbour_correctness
from reid.report.projection import TSNE_LIMIT, TSNE_MINIMUM, project
from reid.report.thumbnails import UNREADABLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

HISTORY = "history.json"  # of `reid finetune`
SAMPLED_ROWS = 2_000  # whose pairs are drawn as a distribution
MOST_FIGURES = 13  # of a species; fewer without labels
SLOW_TSNE = 2_000  # images
METHODS = {"pca": "PCA", "tsne": "t-SNE"}
SHEETS, PAIRS = 6, 8  # individuals on a sheet; pairs on one
TOKEN_PICTURES = 10


@dataclass(frozen=True)
class _Species:
    """What is drawn of one species; the rows of all of it are in one order."""

    name: str
    vectors: np.ndarray
    clusters: np.ndarray
    labels: list[str]
    identities: np.ndarray
    pairs: list[tuple[int, int, float]]
    picture: Callable[[int], Image.Image | None]
    tuning: dict[str, Any]
    tokens: Callable[[list[int]], tuple[list[drawings.TokenPicture], str]] | None
    windowed: Callable[[int], Image.Image | None]

    @property
    def is_labelled(self) -> np.ndarray:
        """(n,) bool."""
        return np.asarray([name is not None for name in self.identities], np.bool_)


def draw_figures(config: Config, to: str, formats: Sequence[str]) -> None:
    """Write all figures of an output folder of `reid run`, or the training curves of `reid finetune`.

    Args:
        config: the resolved configuration; `out` is the folder.
        to: folder to write to.
        formats: of `reid.drawings.FORMATS`.

    Raises:
        InputError: an unknown format, or a folder that has nothing to draw.
    """
    unknown = [kind for kind in formats if kind not in drawings.FORMATS]
    if unknown:
        raise InputError(f"--format {unknown[0]}: known: {', '.join(drawings.FORMATS)}")
    history = store.join(config.out, HISTORY)
    drawn: list[str] = []
    if store.exists(history):
        drawn += _write(to, "training", drawings.training_curves(store.read_json(history)), formats)
    else:
        groups = read_groups(config.out)
        words = species_words([group.species for group in groups])
        for one in _species(config, groups):
            made = _figures_of(one, config.seed)
            with progress(f"figures of {one.name}", MOST_FIGURES, "figures") as advance:
                for name, figure in made:
                    drawn += _write(to, f"{words[one.name]}-{name}", figure, formats)
                    advance(1)
        for name, figure in _of_all_species(groups, config.seed):
            drawn += _write(to, name, figure, formats)
    say(f"figures: {len(drawn):,} files")
    print_result(to)


def _write(to: str, name: str, figure: "Drawing", formats: Sequence[str]) -> list[str]:
    paths = [store.join(to, f"{name}.{kind}") for kind in formats]
    for path, kind in zip(paths, formats, strict=True):
        store.write_bytes(path, drawings.encode(figure, kind))
    return paths


def _species(config: Config, groups: Sequence[Group]) -> Iterator[_Species]:
    everyone = [name for group in groups for name in group.rows["annotation_id"].to_pylist()]
    clusters = read_clusters(config.out, everyone).to_pandas().set_index("annotation_id")
    folders = outputs.read_summary(config.out).get("embed", {}).get("token_folders", {})
    tuning = outputs.read_tuning(config.out, [group.species for group in groups])
    for group in groups:
        rows = group.rows.to_pandas()
        own = clusters.loc[rows["annotation_id"]]
        picture = _readable(crops(config.images, rows, SIDE_PX))
        yield _Species(
            group.species,
            group.vectors,
            own["cluster"].to_numpy(),
            own["cluster_label"].tolist(),
            group.identities,
            _nearest_pairs(own),
            picture,
            tuning[group.species],
            partial(token_pictures, config, group, folders[group.species])
            if group.species in folders
            else None,
            partial(windowed, picture, config.images.window_of(group.species)),
        )


def _readable(crop: Callable[[int], Image.Image]) -> Callable[[int], Image.Image | None]:
    """The pictures, None for those that are gone or damaged since they were embedded."""

    def picture(row: int) -> Image.Image | None:
        try:
            return crop(row)
        except (*UNREADABLE, InputError):
            return None

    return picture


Named = tuple[str, "Drawing"]  # a figure and its name


def _figures_of(one: _Species, seed: int) -> Iterator[Named]:
    """One at a time; what cannot be drawn of so few images, or without labels, is left out."""
    yield from _of_clusters(one)
    if one.is_labelled.any():
        yield from _of_labels(one, seed)
    yield from _planes(one, seed)
    yield from _sheets(one)


def _of_clusters(one: _Species) -> Iterator[Named]:
    eps, curve = one.tuning["eps"], one.tuning["curve"]
    if eps is not None and curve["thresholds"]:
        criterion, n = one.tuning["criterion"] or "score", len(one.vectors)
        drawn = drawings.tuning_curve(curve["thresholds"], curve["scores"], eps, criterion, n)
        yield "tuning", drawn
    sizes = np.unique(one.clusters[one.clusters >= 0], return_counts=True)[1]
    yield "cluster-sizes", drawings.cluster_sizes(sizes, int((one.clusters < 0).sum()))
    if len(one.vectors) >= 2:
        yield "similarities", drawings.similarity_heatmap(one.vectors, one.clusters)
        yield "distances", drawings.similarity_heatmap(one.vectors, one.clusters, distance=True)


def _of_labels(one: _Species, seed: int) -> Iterator[Named]:
    same, different = _pair_similarities(one, seed)
    if len(same) and len(different):
        eps = one.tuning["eps"]
        threshold = None if eps is None else 1 - float(eps)
        yield "scores", drawings.score_distribution(same, different, threshold)
    shares, images, _ = neighbour_correctness(one.vectors, one.identities)
    if len(shares):
        yield "neighbours", drawings.neighbour_correctness(shares, images)


def _planes(one: _Species, seed: int) -> Iterator[Named]:
    known = _right(one)
    for method, points, shown in _laid_out(one.vectors, seed):
        called = METHODS[method]
        names = [None if name is None else str(name) for name in one.identities[shown]]
        if any(names):
            by_name = drawings.plane_by_name(points, names, what="individuals", axes_are=called)
            yield f"{method}-individuals", by_name
        right = [known[i] for i in shown]
        by_cluster = drawings.plane_by_cluster(points, one.clusters[shown], right, axes_are=called)
        yield f"{method}-clusters", by_cluster


def _of_all_species(groups: Sequence[Group], seed: int) -> Iterator[Named]:
    """Planes by species, of those that one recipe has embedded: other vectors cannot be compared."""
    by_folder: dict[str, list[Group]] = {}
    for group in groups:
        by_folder.setdefault(group.folder, []).append(group)
    several = [same for same in by_folder.values() if len(same) > 1]
    for number, same in enumerate(several, 1):
        species = np.repeat(
            [group.species for group in same], [len(group.vectors) for group in same]
        )
        vectors = np.concatenate([group.vectors for group in same])
        for method, points, shown in _laid_out(vectors, seed):
            which = f"species-{number}" if len(several) > 1 else "species"
            names = species[shown].tolist()
            drawn = drawings.plane_by_name(points, names, what="species", axes_are=METHODS[method])
            yield f"{which}-{method}", drawn


def _laid_out(vectors: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """PCA and t-SNE with the rows that they show: a draw where there are more than t-SNE takes."""
    shown = np.arange(len(vectors))
    if len(shown) > TSNE_LIMIT:
        draw = np.random.default_rng([seed, 1])
        shown = np.sort(draw.choice(len(shown), TSNE_LIMIT, replace=False))
    yield "pca", project(vectors[shown], "pca", seed=seed), shown
    if len(shown) >= TSNE_MINIMUM:
        if len(shown) > SLOW_TSNE:
            say(f"figures: t-SNE of {len(shown):,} images, which takes a minute or two")
        yield "tsne", project(vectors[shown], "tsne", seed=seed), shown


def _sheets(one: _Species) -> Iterator[Named]:
    groups = _largest(one)
    if groups:
        yield "individuals", drawings.contact_sheet(groups, one.picture)
    for name, pairs in (("similar-pairs", _similar(one)), ("worst-mistakes", _mistakes(one))):
        if pairs:
            yield name, drawings.pair_sheet(pairs, one.picture)
    if one.tokens is not None:
        evenly = np.linspace(0, len(one.vectors) - 1, min(TOKEN_PICTURES, len(one.vectors)))
        shown, caption = one.tokens(sorted({int(row) for row in evenly}))
        if shown:
            yield "tokens", drawings.token_sheet(shown, one.windowed, caption)


def _pair_similarities(one: _Species, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of the pairs of labelled rows, of one and of two individuals; of a draw where there are many."""
    rows = np.flatnonzero(one.is_labelled)
    if len(rows) > SAMPLED_ROWS:
        draw = np.random.default_rng([seed, 0])
        rows = np.sort(draw.choice(rows, SAMPLED_ROWS, replace=False))
    who = pd.factorize(one.identities[rows])[0]
    low, high = np.triu_indices(len(rows), 1)
    cosine = (one.vectors[rows] @ one.vectors[rows].T)[low, high]
    same = who[low] == who[high]
    return cosine[same], cosine[~same]


def _right(one: _Species) -> list[bool | None]:
    """Whether a labelled image shows whom most labelled images of its cluster show; of lonely ones nothing."""
    frame = pd.DataFrame({"cluster": one.clusters, "who": one.identities})
    known = frame[frame["who"].notna() & (frame["cluster"] >= 0)]
    most = known.groupby("cluster")["who"].agg(lambda who: who.value_counts().index[0])
    expected = frame["cluster"].map(most)
    return [
        None if pd.isna(who) or pd.isna(there) else bool(who == there)
        for who, there in zip(frame["who"], expected, strict=True)
    ]


def _largest(one: _Species) -> list[tuple[str, list[int]]]:
    names, counts = np.unique(one.clusters[one.clusters >= 0], return_counts=True)
    chosen = names[np.lexsort((names, -counts))][:SHEETS]
    rows = [np.flatnonzero(one.clusters == name).tolist() for name in chosen]
    return [(one.labels[own[0]], own) for own in rows]


def _same(one: _Species, a: int, b: int) -> bool | None:
    if one.identities[a] is None or one.identities[b] is None:
        return None
    return bool(one.identities[a] == one.identities[b])


def _nearest_pairs(clusters: pd.DataFrame) -> list[tuple[int, int, float]]:
    """Each image with its nearest other, as the run found it, nearest pairs first, each pair once."""
    nearest = clusters.index.get_indexer(pd.Index(clusters["nearest_id"]))
    pairs = {
        (min(i, j), max(i, j)): float(d)
        for i, (j, d) in enumerate(zip(nearest.tolist(), clusters["nearest_distance"], strict=True))
        if j >= 0
    }
    return [(a, b, d) for (a, b), d in sorted(pairs.items(), key=lambda item: (item[1], item[0]))]


def _similar(one: _Species) -> list[Pair]:
    return [
        Pair(a, b, f"similarity {1 - distance:.3f}", _same(one, a, b))
        for a, b, distance in one.pairs[:PAIRS]
    ]


def _mistakes(one: _Species) -> list[Pair]:
    """The most similar pairs that labels say are two individuals, in one cluster first."""
    wrong = [
        (one.clusters[a] != one.clusters[b] or one.clusters[a] < 0, distance, a, b)
        for a, b, distance in one.pairs
        if _same(one, a, b) is False
    ]
    return [
        Pair(
            a,
            b,
            f"{one.identities[a]} and {one.identities[b]}, similarity {1 - distance:.3f}"
            + ("" if apart else ", joined"),
            False,
        )
        for apart, distance, a, b in sorted(wrong)[:PAIRS]
    ]
