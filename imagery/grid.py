"""From a place to the pixels that cover it: local UTM, ground metres, north up. Pure."""

from __future__ import annotations

import math
from functools import lru_cache

from pyproj import CRS, Transformer

from geobento.errors import InvalidRequest
from geobento.sample import PixelGrid
from geobento.specs import BBox, PointBuffer

SOUTHERN_LIMIT, NORTHERN_LIMIT = -80.0, 84.0
"""Latitudes between which UTM is defined."""
WIDEST_BOX_DEG = 6.0
"""A wider box would lie in several UTM zones."""
SEARCH_POINTS, COVER_POINTS = 21, 1001
"""Points per edge when an outline is carried to another CRS, where edges become curves: enough
to search by, and enough to cover the widest box to 2 mm."""


def utm_crs(lon: float, lat: float) -> str:
    """The UTM zone of a point, as ``EPSG:326zz`` (north) or ``EPSG:327zz`` (south).

    Raises:
        InvalidRequest: UTM is not defined at this latitude.
    """
    if not SOUTHERN_LIMIT <= lat <= NORTHERN_LIMIT:
        raise InvalidRequest(
            f"latitude {lat:g} is outside the range of UTM; accepted: "
            f"{SOUTHERN_LIMIT:g} to {NORTHERN_LIMIT:g}",
            field="spatial",
        )
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{(32700 if lat < 0 else 32600) + zone}"


def for_place(
    place: PointBuffer | BBox, scale_m: float, lattice_m: float | None = None
) -> PixelGrid:
    """The pixel grid of a place in its local UTM zone.

    Args:
        place: Where.
        scale_m: Ground size of a pixel, metres.
        lattice_m: Pixel size of the sensor's own lattice, whose corners lie at multiples of it.
            Corners of the grid lie at multiples of it or, where `scale_m` is finer or a multiple
            of it, of `scale_m`. None: no common lattice, nothing is snapped.

    Returns:
        A point with a buffer: the square of ``round(2 * buffer / scale)`` pixels a side whose
        centre is nearest to the point. A box: the smallest grid that covers it.

    Raises:
        InvalidRequest: The place lies outside UTM, or is too wide for one zone.
    """
    if isinstance(place, PointBuffer):
        return _square(place, scale_m, lattice_m)
    return _cover(place, scale_m, lattice_m)


def lonlat_bounds(grid: PixelGrid) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a grid, degrees; its curved edges lie inside.

    West is greater than east where the grid crosses the antimeridian, as in GeoJSON.
    """
    left, bottom, right, top = grid.bounds
    return _transformer(grid.crs, "EPSG:4326").transform_bounds(
        left, bottom, right, top, densify_pts=SEARCH_POINTS
    )


def _square(place: PointBuffer, scale_m: float, lattice_m: float | None) -> PixelGrid:
    crs = utm_crs(place.lon, place.lat)
    x, y = _transformer("EPSG:4326", crs).transform(place.lon, place.lat)
    count = max(1, round(2 * place.buffer_m / scale_m))
    step = _step(scale_m, lattice_m)
    left, top = x - count * scale_m / 2, y + count * scale_m / 2
    if step is not None:
        left, top = round(left / step) * step, round(top / step) * step
    return PixelGrid(crs, (scale_m, 0.0, left, 0.0, -scale_m, top), count, count)


def _cover(place: BBox, scale_m: float, lattice_m: float | None) -> PixelGrid:
    if place.maxlon - place.minlon > WIDEST_BOX_DEG:
        raise InvalidRequest(
            f"the box is {place.maxlon - place.minlon:g} degrees wide; accepted: up to "
            f"{WIDEST_BOX_DEG:g}, the width of a UTM zone",
            field="spatial",
        )
    middle = (place.minlon + place.maxlon) / 2, (place.minlat + place.maxlat) / 2
    for latitude in (place.minlat, place.maxlat):
        utm_crs(middle[0], latitude)
    crs = utm_crs(*middle)
    left, bottom, right, top = _transformer("EPSG:4326", crs).transform_bounds(
        place.minlon, place.minlat, place.maxlon, place.maxlat, densify_pts=COVER_POINTS
    )
    step = _step(scale_m, lattice_m)
    if step is not None:
        left, top = math.floor(left / step) * step, math.ceil(top / step) * step
    width = max(1, math.ceil((right - left) / scale_m - 1e-9))
    height = max(1, math.ceil((top - bottom) / scale_m - 1e-9))
    return PixelGrid(crs, (scale_m, 0.0, left, 0.0, -scale_m, top), height, width)


def _step(scale_m: float, lattice_m: float | None) -> float | None:
    """What corners are multiples of: the lattice, coarser pixels that nest in it, or finer ones.

    Finer pixels are snapped to themselves: the lattice would move the centre by several of them.
    """
    if lattice_m is None:
        return None
    nests = math.isclose(scale_m / lattice_m, round(scale_m / lattice_m), abs_tol=1e-9)
    return scale_m if nests or scale_m < lattice_m else lattice_m


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(CRS(source), CRS(target), always_xy=True)
