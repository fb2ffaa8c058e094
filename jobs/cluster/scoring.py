"""`reid score`: a similarity for each pair of a list, from stored embeddings."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from jobs.cluster.groups import Group, read_groups
from jobs.common.console import print_result, say
from reid import store
from reid.errors import InputError
from reid.exports.sheets import find_column, program_sheet, read_sheet
from reid.metrics.scored_pairs import (
    SCALES,
    affine,
    calibrated,
    identity_balanced_map,
    pair_similarity,
)
from reid.rerank import rerank
from reid.sources.named_images import find_named

JOINS = ("scores", "vectors")
ID, QUERY, GALLERY = ("row_id", "id"), ("query_image", "query"), ("gallery_image", "gallery")


class _Pairs(NamedTuple):
    """The list: its ids, and the two annotations of each pair as rows of all species together."""

    id_column: str
    ids: list[str]
    queries: list[str]
    low: np.ndarray  # (p,) int64
    high: np.ndarray


def score(
    outs: Sequence[str],
    pairs: str,
    to: str,
    *,
    scale: str = "affine",
    join: str = "scores",
    reranked: bool = False,
    seed: int = 0,
) -> None:
    """Write `row_id, similarity`, and print the identity-balanced mAP where labels are at hand.

    Args:
        outs: output folders of `reid embed` or `reid run` over the same images; several are an ensemble.
        pairs: a table `row_id, query_image, gallery_image`; images by id, path or file name.
        to: CSV to write.
        scale: of `reid.metrics.scored_pairs.SCALES`.
        join: scores: each model's similarities, averaged; vectors: one similarity of all vectors joined.
        reranked: by k-reciprocal neighbours among all images of the species.
        seed: of what is drawn.

    Raises:
        InputError: the table cannot be read, names an image that has no vector, or a setting is unknown.
    """
    if scale not in SCALES:
        raise InputError(f"--scale {scale}: known: {', '.join(SCALES)}")
    if join not in JOINS:
        raise InputError(f"--join {join}: known: {', '.join(JOINS)}")
    if reranked and scale == "calibrated":
        raise InputError("--rerank gives a scale of its own: take --scale clip or affine")
    models = [read_groups(out) for out in outs]
    models = [_in_order(groups, models[0], out) for groups, out in zip(models, outs, strict=True)]
    wanted = _read_pairs(pairs, models[0])
    if join == "vectors":
        models = [_joined(models)]
    scores = [_similarity(groups, wanted, scale, reranked, seed) for groups in models]
    similarity = np.mean(scores, axis=0)
    lines = ((one, f"{value:.6f}") for one, value in zip(wanted.ids, similarity, strict=True))
    store.write_text(to, program_sheet([wanted.id_column, "similarity"], lines))
    apart = _species(models[0])[wanted.low] != _species(models[0])[wanted.high]
    say(
        f"score: {len(wanted.ids):,} pairs of {len(set(wanted.queries)):,} query images"
        + (f"; {apart.sum():,} of two species, which are given 0" if apart.any() else "")
    )
    _say_map(models[0], wanted, similarity)
    print_result(to)


def _in_order(groups: list[Group], first: list[Group], out: str) -> list[Group]:
    """The groups with the rows of `first`, in their order."""
    by_name = {group.species: group for group in groups}
    ordered = []
    for group in first:
        other = by_name.get(group.species)
        index = pd.Index([] if other is None else other.rows["annotation_id"].to_pylist())
        place = index.get_indexer(pd.Index(group.rows["annotation_id"].to_pylist()))
        if other is None or (place < 0).any():
            raise InputError(
                f"--out {out}: {int((place < 0).sum()):,} images of {group.species} of the first folder have no "
                "vector there; models of one ensemble embed the same images"
            )
        ordered.append(Group(group.species, group.rows, other.vectors[place], None, other.folder))
    return ordered


def _read_pairs(path: str, groups: Sequence[Group]) -> _Pairs:
    sheet = read_sheet(path, "--pairs")
    columns = [find_column(sheet, names) for names in (ID, QUERY, GALLERY)]
    id_column, query, gallery = columns
    if id_column is None or query is None or gallery is None:
        raise InputError(
            f"--pairs {path}: columns {', '.join(map(str, sheet.columns))}; needed are row_id, query_image and "
            "gallery_image"
        )
    names = ["annotation_id", "image_path", "image_id"]
    rows = pd.concat([group.rows.select(names).to_pandas() for group in groups], ignore_index=True)
    ends = []
    for column in (query, gallery):
        asked = sheet[column].tolist()
        found = find_named(asked, rows)
        if len(found.unknown):
            lost = list(dict.fromkeys(asked[i] for i in found.unknown))
            raise InputError(
                f"--pairs {path}: {len(lost):,} images of {column} have no vector here, for example "
                f"{', '.join(lost[:3])}; failures.parquet says which could not be read"
            )
        if len(found.name) > len(asked):
            several = asked[int(found.name[np.flatnonzero(np.diff(found.name) == 0)[0]])]
            raise InputError(
                f"--pairs {path}: {several} is an image with several boxes, or a name that several images have; "
                "name annotations, or paths"
            )
        ends.append(found.row)
    return _Pairs(id_column, sheet[id_column].tolist(), sheet[query].tolist(), ends[0], ends[1])


def _species(groups: Sequence[Group]) -> np.ndarray:
    """(n,) number of the species of each row."""
    return np.repeat(np.arange(len(groups)), [len(group.rows) for group in groups])


def _joined(models: Sequence[Sequence[Group]]) -> list[Group]:
    """One vector a row: those of all models side by side, of unit length again."""
    joined = []
    for same in zip(*models, strict=True):
        vectors = np.concatenate([group.vectors for group in same], axis=1) / np.sqrt(len(same))
        first = same[0]
        joined.append(Group(first.species, first.rows, vectors.astype(np.float32), None, ""))
    return joined


def _similarity(
    groups: Sequence[Group], pairs: _Pairs, scale: str, reranked: bool, seed: int
) -> np.ndarray:
    """(p,) float64 in [0, 1]; 0 for pairs of two species."""
    species = _species(groups)
    found = np.zeros(len(pairs.ids))
    first = 0
    for number, group in enumerate(groups):
        own = (species[pairs.low] == number) & (species[pairs.high] == number)
        low, high = pairs.low[own] - first, pairs.high[own] - first
        first += len(group.rows)
        if not own.any():
            continue
        ends = np.stack([low, high], axis=1)
        if scale in ("clip", "affine") and not reranked:
            found[own] = pair_similarity(group.vectors, ends, scale)
            continue
        cosine = np.einsum("pd,pd->p", group.vectors[low], group.vectors[high], dtype=np.float32)
        if reranked:
            found[own] = _reranked(group.vectors, low, high, cosine)
        else:
            identities, encounters = (
                group.rows[name].to_pylist() for name in ("identity", "encounter_id")
            )
            found[own] = calibrated(cosine, group.vectors, identities, encounters, seed=seed)
    return found


def _reranked(
    vectors: np.ndarray, low: np.ndarray, high: np.ndarray, cosine: np.ndarray
) -> np.ndarray:
    """1 − re-ranked distance; pairs that share no neighbour come after all others, by their cosine."""
    graph = rerank(vectors)
    n = len(vectors)
    key = graph.edges[:, 0].astype(np.int64) * n + graph.edges[:, 1]
    order = np.argsort(key)
    wanted = np.minimum(low, high) * n + np.maximum(low, high)
    place = np.searchsorted(key[order], wanted)
    place = np.minimum(place, len(key) - 1)
    stored = key[order][place] == wanted if len(key) else np.zeros(len(wanted), np.bool_)
    farthest = float(graph.distances.max(initial=0.0))
    beyond = (1 - farthest) * affine(cosine)
    near = 1 - graph.distances[order][place] if len(key) else beyond
    return np.where(low == high, 1.0, np.where(stored, near, beyond))


def _say_map(groups: Sequence[Group], pairs: _Pairs, similarity: np.ndarray) -> None:
    """The identity-balanced mAP of the pairs whose two individuals are known, if there are any."""
    names = np.concatenate([group.identities for group in groups])
    known = np.asarray([one is not None for one in names])
    own = known[pairs.low] & known[pairs.high] & (pairs.low != pairs.high)
    if not own.any():
        return
    low, high = pairs.low[own], pairs.high[own]
    queries = np.asarray(pairs.queries, dtype=object)[own]
    try:
        value, counted, individuals = identity_balanced_map(
            similarity[own], queries.tolist(), names[low] == names[high], names[low].tolist()
        )
    except InputError as error:
        say(f"note: no mAP: {error}")
        return
    say(
        f"identity-balanced mAP: {value:.3f} ({counted:,} queries of {individuals:,} individuals; "
        f"{own.sum():,} of {len(own):,} pairs have labels)"
    )
