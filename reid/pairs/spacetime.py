"""What place and time say of a pair: too far for the time between, or too near to be another animal."""

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError

EARTH_RADIUS_KM = 6371.0088
LEAST_HOURS = 1 / 60  # clocks of two cameras agree no better


def kilometres(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Great-circle distance of (m, 2) latitudes and longitudes in degrees; NaN where one is NaN."""
    first, second = np.radians(np.asarray(a, np.float64)), np.radians(np.asarray(b, np.float64))
    half = (second - first) / 2
    root = (
        np.sin(half[:, 0]) ** 2
        + np.cos(first[:, 0]) * np.cos(second[:, 0]) * np.sin(half[:, 1]) ** 2
    )
    distance: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(root, 0, 1)))
    return distance


def impossible(
    seconds_between: NDArray[np.floating],
    kilometres_between: NDArray[np.floating],
    max_speed_kmh: float,
) -> NDArray[np.bool_]:
    """(m,) bool: pairs that one animal could only make faster than it can run.

    Args:
        seconds_between, kilometres_between: (m,), not negative; NaN, where time or place is not known,
            proves nothing.
        max_speed_kmh: of the species, above 0.

    Raises:
        InputError: the speed is not above 0.
    """
    if not max_speed_kmh > 0:
        raise InputError(f"pairs.max_speed_kmh: {max_speed_kmh}, above 0 is needed")
    hours = np.maximum(np.asarray(seconds_between, np.float64) / 3600, LEAST_HOURS)
    with np.errstate(invalid="ignore"):
        too_fast: NDArray[np.bool_] = np.asarray(kilometres_between) / hours > max_speed_kmh
    return too_fast


def regions(
    points: NDArray[np.floating], range_km: float, *, metres: bool = False
) -> NDArray[np.int64]:
    """(n,) number of the region of each place; −1 where the place is not known.

    Places are in one region where steps of at most `range_km` lead from one to the other, so that two
    of different regions are farther apart than that, and two of one region may be, too.

    Args:
        points: (n, 2) latitudes and longitudes in degrees, or metres; NaN: not known.
        range_km: how far apart two sightings of one animal can be, above 0.
        metres: what the points are.

    Raises:
        InputError: the range is not above 0.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if not range_km > 0:
        raise InputError(f"cluster.range_km: {range_km}, above 0 is needed")
    known = np.isfinite(points).all(axis=1)
    found = np.full(len(points), -1, np.int64)
    places, which = np.unique(np.asarray(points, np.float64)[known], axis=0, return_inverse=True)
    if not len(places):
        return found
    if metres:
        where, reach = places, 1000 * range_km
    else:  # on a sphere of radius 1, a great circle's chord
        latitude, longitude = np.radians(places).T
        level = np.cos(latitude)
        where = np.stack(
            [level * np.cos(longitude), level * np.sin(longitude), np.sin(latitude)], axis=1
        )
        reach = 2 * np.sin(min(range_km / EARTH_RADIUS_KM, np.pi) / 2)
    # Chords of kilometres are rounded in their tenth digit: better a pair too many than one lost.
    near = cKDTree(where).query_pairs(reach * (1 + 1e-9), output_type="ndarray")
    links = coo_array((np.ones(len(near), np.bool_), near.T), shape=(len(places), len(places)))
    _, number = connected_components(links, directed=False)
    found[known] = number[which.ravel()]
    return found


def linked(
    seconds_between: NDArray[np.floating],
    same_place: NDArray[np.bool_],
    pixels_between: NDArray[np.floating] | None = None,
    *,
    link_seconds: float = 30.0,
    link_pixels: float = 100.0,
    link_seconds_near: float = 300.0,
) -> NDArray[np.bool_]:
    """(m,) bool: pairs of one camera that may be steps of one track.

    Two pictures of a camera are linked when they are at most `link_seconds` apart, or at most
    `link_seconds_near` with boxes whose middles are at most `link_pixels` apart in the frame.

    Args:
        seconds_between: (m,), NaN where a time is not known: never linked.
        same_place: (m,) both are known to be of one camera.
        pixels_between: (m,) between the middles of the boxes, NaN where not known.
        link_seconds, link_pixels, link_seconds_near: the limits, not negative.

    Raises:
        InputError: a negative limit, or `link_seconds` above `link_seconds_near`.
    """
    for name, value in (
        ("link_seconds", link_seconds),
        ("link_pixels", link_pixels),
        ("link_seconds_near", link_seconds_near),
    ):
        if not value >= 0:
            raise InputError(f"pairs.{name}: {value}, at least 0 is needed")
    if link_seconds > link_seconds_near:
        raise InputError(
            f"pairs.link_seconds {link_seconds:g} is more than pairs.link_seconds_near "
            f"{link_seconds_near:g}: boxes that are near each other may be apart for longer, not shorter"
        )
    with np.errstate(invalid="ignore"):
        seconds = np.asarray(seconds_between, np.float64)
        soon = seconds <= link_seconds
        if pixels_between is not None:
            soon |= (seconds <= link_seconds_near) & (np.asarray(pixels_between) <= link_pixels)
    found: NDArray[np.bool_] = soon & same_place
    return found
