"""Degrees to metres: every place of a survey in one UTM zone."""

import numpy as np
import utm
from numpy.typing import NDArray

from reid.errors import InputError


def to_metres(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """UTM eastings and northings in the zone of the places' middle, also of places beyond its edge.

    Args:
        latitude, longitude: (n,) degrees, WGS 84, none of them NaN.

    Returns:
        x (n,), y (n,) in metres, and the zone's name, as `UTM zone 33N`.

    Raises:
        InputError: a place is nearer to a pole than UTM goes, or the places lie around the globe.
    """
    radians = np.radians(longitude)
    # The mean on the circle, so that an array across the date line has its middle there.
    middle = float(np.degrees(np.angle(np.exp(1j * radians).mean())))
    apart = np.abs((longitude - middle + 180) % 360 - 180).max()
    if apart > 20:
        raise InputError(
            f"the places lie up to {2 * apart:.0f} degrees of longitude apart; no map in metres holds for "
            "all of them. Export each survey alone, or give x and y"
        )
    zone = int(utm.latlon_to_zone_number(float(latitude.mean()), middle))
    north = bool(latitude.mean() >= 0)
    try:
        x, y, _, _ = utm.from_latlon(
            latitude, longitude, force_zone_number=zone, force_northern=north
        )
    except utm.error.OutOfRangeError as error:
        raise InputError(
            f"coordinates cannot be turned into metres: {error}; give x and y"
        ) from error
    return np.asarray(x), np.asarray(y), f"UTM zone {zone}{'N' if north else 'S'}"
