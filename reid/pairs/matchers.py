"""Matchers by name: two pictures' keypoints → which points are the same, and how sure that is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid import store
from reid.errors import InputError
from reid.keypoints import StoredKeypoints, descriptors_of
from reid.pairs.lightglue import Points, Runtime, load_lightglue
from reid.pairs.votes import mutual_clear

LEAST_CONFIDENCE = 0.1  # of LightGlue's matches, as its authors have it
RATIO = 0.85  # of the distances to the nearest and the second nearest descriptor

# Matcher → the extractor whose keypoints it was made for.
MATCHERS = {
    "aliked-lightglue": "aliked-n16",
    "aliked-mutual": "aliked-n16",
    "rootsift": "rootsift",
    "patches": "patches",
}
LEARNED = ("aliked-lightglue",)  # those that are networks


@dataclass(frozen=True, slots=True)
class Matches:
    """The points that two pictures share.

    Attributes:
        points: (m, 2) int32, of the first picture and of the second, by the first's number; a point
            has one partner at most.
        confidence: (m,) float32 in (0, 1].
    """

    points: NDArray[np.int32]
    confidence: NDArray[np.float32]


Match = Callable[[Sequence[tuple[StoredKeypoints, StoredKeypoints]]], list[Matches]]


TUNED = "matcher.json"  # in the folder of a tuned matcher, beside WEIGHTS
WEIGHTS = "lightglue.safetensors"


def extractor_of(matcher: str) -> str:
    """The extractor that a matcher needs; InputError that lists the matchers for an unknown name."""
    if matcher in MATCHERS:
        return MATCHERS[matcher]
    extractor: str = tuned_matcher(matcher)["extractor"]
    return extractor


def tuned_matcher(path: str) -> dict[str, Any]:
    """What `reid finetune --matcher` wrote of a matcher: `extractor`, and `digest` of its weights.

    Raises:
        InputError: the folder holds none.
    """
    try:
        about = store.read_json(store.join(path, TUNED))
        return {"extractor": str(about["extractor"]), "digest": str(about["digest"])}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"pairs.matcher: unknown {path!r}; known: {', '.join(MATCHERS)}, or a folder that `reid finetune "
            "--matcher` has written"
        ) from error


def pictures_learned_from(matcher: str) -> list[str]:
    """Annotation ids of the pictures that a tuned matcher was trained on, rising; none of one that was not."""
    if matcher in MATCHERS:
        return []
    tuned_matcher(matcher)
    return [str(one) for one in store.read_json(store.join(matcher, TUNED)).get("learned_from", [])]


def load_matcher(
    name: str,
    *,
    device: str = "cpu",
    precision: Literal["fp32", "bf16"] = "fp32",
    runtime: Runtime = "auto",
    threads: int = 1,
) -> tuple[Match, str]:
    """A function from pairs of pictures to their matches, and the name of what computes it.

    The result for a pair depends on that pair alone, and for the pair turned round it is the same with
    both columns exchanged where both are called in one order: `match_in_order` sees to that.

    Args:
        name: `aliked-lightglue`, or the folder of a tuned one; the others are mutual nearest neighbours with a ratio: cheap, and
            they say little about smooth coats.
        device, precision, runtime, threads: see `load_lightglue`.

    Raises:
        InputError: there is no such matcher.
        MissingPackageError: the extra `local` is not installed.
    """
    extractor = extractor_of(name)
    tuned = name not in MATCHERS
    if tuned or name in LEARNED:
        assign, used = load_lightglue(
            device=device,
            precision=precision,
            runtime=runtime,
            threads=threads,
            weights=store.join(name, WEIGHTS) if tuned else None,
        )

        def glue(pairs: Sequence[tuple[StoredKeypoints, StoredKeypoints]]) -> list[Matches]:
            points = [(_points(a, extractor), _points(b, extractor)) for a, b in pairs]
            return [mutual_best(found, LEAST_CONFIDENCE) for found in assign(points)]

        return glue, used

    def nearest(pairs: Sequence[tuple[StoredKeypoints, StoredKeypoints]]) -> list[Matches]:
        return [
            mutual_nearest(
                descriptors_of(extractor, a.keypoints.descriptors),
                descriptors_of(extractor, b.keypoints.descriptors),
            )
            for a, b in pairs
        ]

    return nearest, "numpy"


def match_in_order(
    match: Match,
    pairs: Sequence[tuple[str, str]],
    keypoints: "dict[str, StoredKeypoints]",
) -> list[Matches]:
    """Matches of pairs of ids; (a, b) and (b, a) give the same to the bit, with columns exchanged.

    Args:
        match: of `load_matcher`.
        pairs: ids of annotations.
        keypoints: by id.
    """
    ordered = [(min(pair), max(pair)) for pair in pairs]
    found = match([(keypoints[a], keypoints[b]) for a, b in ordered])
    return [
        one if pair == right else _turned_round(one)
        for pair, right, one in zip(pairs, ordered, found, strict=True)
    ]


def _turned_round(matches: Matches) -> Matches:
    order = np.argsort(matches.points[:, 1], kind="stable")
    return Matches(matches.points[order, ::-1], matches.confidence[order])


def _points(stored: StoredKeypoints, extractor: str) -> Points:
    points = stored.keypoints
    return points.xy, stored.size, descriptors_of(extractor, points.descriptors)


def mutual_best(confidence: NDArray[np.float32], least: float) -> Matches:
    """Points that are each other's best, where that is surer than `least`.

    Args:
        confidence: (n, m) float32.
        least: in [0, 1).
    """
    if not confidence.size:
        return Matches(np.zeros((0, 2), np.int32), np.zeros(0, np.float32))
    best = confidence.argmax(axis=1)
    back = confidence.argmax(axis=0)
    rows = np.arange(len(confidence))
    values = confidence[rows, best]
    kept = np.flatnonzero((back[best] == rows) & (values > least))
    points = np.stack([kept, best[kept]], axis=1).astype(np.int32)
    return Matches(points, values[kept])


def mutual_nearest(a: NDArray[np.float32], b: NDArray[np.float32], ratio: float = RATIO) -> Matches:
    """Descriptors that are each other's nearest, and clearly so from both sides.

    Args:
        a, b: (n, d) and (m, d) float32, unit rows.
        ratio: a match is dropped where its distance is above this share of the distance to the
            second nearest, seen from either side; 1 drops nothing.

    Returns:
        Matches; the confidence is 1 - distance / second distance, at least 1e-3.
    """
    rows, columns, clear = mutual_clear(a, b)
    kept = clear >= np.float32(1 - ratio)
    points = np.stack([rows[kept], columns[kept]], axis=1).astype(np.int32)
    return Matches(points, np.maximum(clear[kept], np.float32(1e-3)))
