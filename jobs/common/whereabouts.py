"""When and where pictures were taken, and the pairs that this makes impossible."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from reid.config import Pairs
from reid.errors import InputError
from reid.pairs import impossible, kilometres, linked, regions

if TYPE_CHECKING:
    from reid.exports.deployments import Deployment

MINUTE = 60.0  # seconds; two clocks agree no better


@dataclass(frozen=True)
class Whereabouts:
    """When and where each of n pictures was taken; NaN is unknown everywhere.

    Attributes:
        clock: (n,) seconds of the camera's clock.
        utc: (n,) seconds of UTC, where the clock's offset is known too.
        places: (n,) number of the place, −1 = unknown.
        points: (n, 2) of the place: latitude and longitude in degrees, or metres.
        metres: what the points are.
        middles: (n, 2) of the box in its frame, pixels.
    """

    clock: NDArray[np.float64]
    utc: NDArray[np.float64]
    places: NDArray[np.int64]
    points: NDArray[np.float64]
    metres: bool
    middles: NDArray[np.float64]

    def seconds(self, pairs: NDArray[np.signedinteger]) -> NDArray[np.float64]:
        """(m,) between the two pictures, by UTC where both are known by it."""
        by_utc, by_clock = (
            np.abs(time[pairs[:, 0]] - time[pairs[:, 1]]) for time in (self.utc, self.clock)
        )
        seconds: NDArray[np.float64] = np.where(np.isnan(by_utc), by_clock, by_utc)
        return seconds

    def kilometres(self, pairs: NDArray[np.signedinteger]) -> NDArray[np.float64]:
        """(m,) between the two places; 0 at one place."""
        a, b = self.points[pairs[:, 0]], self.points[pairs[:, 1]]
        apart = np.linalg.norm(a - b, axis=1) / 1000 if self.metres else kilometres(a, b)
        return np.where(self.same_place(pairs), 0.0, apart)

    def regions(self, range_km: float) -> NDArray[np.int64]:
        """(n,) of `reid.pairs.regions`."""
        return regions(self.points, range_km, metres=self.metres)

    def same_place(self, pairs: NDArray[np.signedinteger]) -> NDArray[np.bool_]:
        """(m,) both are known to be of one place."""
        first, second = self.places[pairs[:, 0]], self.places[pairs[:, 1]]
        same: NDArray[np.bool_] = (first == second) & (first >= 0)
        return same


def whereabouts(rows: pa.Table, deployments: str | None = None) -> Whereabouts:
    """What annotations (schema.ANNOTATIONS), and a table of deployments, say of it.

    Raises:
        InputError: the table cannot be read, or knows none of the places.
    """
    times = pd.to_datetime(rows["timestamp"].to_pandas())
    clock = (times - pd.Timestamp(0)).dt.total_seconds().to_numpy(np.float64)
    offset = rows["utc_offset_minutes"].to_pandas().to_numpy(np.float64, na_value=np.nan)
    names = rows["location_id"].to_pylist()
    points, metres = np.full((len(rows), 2), np.nan), False
    if deployments is not None:
        points, metres = _points(deployments, names, times)
    boxes = zip(rows["bbox"].to_pylist(), rows["bbox_unit"].to_pylist(), strict=True)
    middles = [
        (np.nan, np.nan)
        if box is None or unit == "relative"
        else (box[0] + box[2] / 2, box[1] + box[3] / 2)
        for box, unit in boxes
    ]
    return Whereabouts(
        clock=clock,
        utc=clock - 60 * offset,
        places=pd.factorize(np.asarray(names, dtype=object))[0].astype(np.int64),
        points=points,
        metres=metres,
        middles=np.asarray(middles, np.float64).reshape(-1, 2),
    )


def _points(
    path: str, names: list[str | None], times: "pd.Series[pd.Timestamp]"
) -> tuple[NDArray[np.float64], bool]:
    from reid.exports.deployments import read_stations

    stations = read_stations(path)
    by_name: dict[str, list[Deployment]] = {}
    for one in stations.deployments:
        for name in {one.location_id, *one.names}:
            by_name.setdefault(name, []).append(one)
    if not by_name.keys() & set(names):
        here = next((name for name in names if name is not None), None)
        raise InputError(
            f"pairs.deployments {path}: none of its places is one of the images' (there "
            f"{next(iter(by_name))!r}, here {here!r}); give the images their places, sources.location_level=…"
        )

    def point(name: str | None, time: pd.Timestamp) -> tuple[float, float]:
        found = {
            (one.x, one.y) if stations.projected else (one.latitude, one.longitude): one
            for one in by_name.get(name or "", [])
        }
        if len(found) > 1 and not pd.isna(time):  # a camera that was moved
            found = {place: one for place, one in found.items() if _there(one, time)}
        return next(iter(found)) if len(found) == 1 else (np.nan, np.nan)

    points = [point(name, time) for name, time in zip(names, times, strict=True)]
    return np.asarray(points, np.float64).reshape(-1, 2), stations.projected


def _there(deployment: "Deployment", time: pd.Timestamp) -> bool:
    return bool(deployment.first <= time <= deployment.last)


def cut_pairs(
    settings: Pairs,
    species: str,
    where: Whereabouts,
    pairs: NDArray[np.signedinteger],
    range_km: float | None = None,
) -> Mapping[int, str]:
    """Pairs that cannot be one animal, whatever they look like: place in `pairs` → why, in words.

    Args:
        settings: `max_speed_kmh` and `tracks_only` with its limits.
        species: of the pictures.
        where: of n pictures.
        pairs: (m, 2) of them.
        range_km: of the species, as `cluster.range_km`; None: any.
    """
    seconds = where.seconds(pairs)
    found: dict[int, str] = {}
    if settings.tracks_only:
        apart = where.middles[pairs[:, 0]] - where.middles[pairs[:, 1]]
        steps = linked(
            seconds,
            where.same_place(pairs),
            np.linalg.norm(apart, axis=1),
            link_seconds=settings.link_seconds,
            link_pixels=settings.link_pixels,
            link_seconds_near=settings.link_seconds_near,
        )
        found |= dict.fromkeys(np.flatnonzero(~steps).tolist(), "no step of one camera's track")
    most = settings.max_speed_kmh.get(species)
    if most is not None:
        distance = where.kilometres(pairs)
        for place in np.flatnonzero(impossible(seconds, distance, most)).tolist():
            minutes = max(seconds[place], MINUTE) / 60
            found[place] = f"{distance[place]:.3g} km in {minutes:.3g} min"
        first, second = where.places[pairs[:, 0]], where.places[pairs[:, 1]]
        with np.errstate(invalid="ignore"):
            at_once = (seconds < MINUTE) & np.isnan(distance)
        at_once &= (first != second) & (first >= 0) & (second >= 0)
        found |= dict.fromkeys(np.flatnonzero(at_once).tolist(), "at two places in one minute")
    if range_km is not None:
        first, second = where.regions(range_km)[pairs].T
        apart = (first != second) & (first >= 0) & (second >= 0)
        found |= dict.fromkeys(
            np.flatnonzero(apart).tolist(), f"of places more than {range_km:g} km apart"
        )
    return found
