"""The outline of a place in any reference system: checked, and carried to another one. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from geobento.schemas.errors import SpecError
from geobento.schemas.geometry import LONLAT_CRS, Area, BBox, Polygon

WGS84 = LONLAT_CRS[0]
DENSIFY_POINTS = 2000
"""Points along the longer side of an outline when it is carried to another reference system,
where straight edges become curves: enough to stay within 2 mm of the curve over six degrees."""

_FILE_REFERENCES = re.compile(r"grids|file|\+init|\bpipeline\b", re.IGNORECASE)
"""Definitions that have the library read files of the machine that it runs on."""


@lru_cache(maxsize=256)
def parse_crs(crs: str) -> CRS:
    """A reference system from its name or definition.

    Raises:
        SpecError: It is not known, or its coordinates are not two on the ground.
    """
    try:
        if _FILE_REFERENCES.search(crs):
            raise CRSError("names files")
        found = CRS.from_user_input(crs)
    except CRSError:
        raise SpecError(
            f"the crs {crs[:80]!r} is not known; accepted: a name such as 'EPSG:4326' or "
            "'EPSG:3035', or WKT",
            field="spatial.crs",
        ) from None
    if not (found.is_geographic or found.is_projected) or len(found.axis_info) != 2:
        raise SpecError(
            f"the crs {crs[:80]!r} is not one of two coordinates on the ground; accepted: "
            "geographic or projected ones",
            field="spatial.crs",
        )
    return found


@lru_cache(maxsize=256)
def get_transformer(source: str, target: str) -> Transformer:
    """From one reference system to another, x before y in both.

    Raises:
        SpecError: One of them is not known, or there is no way between them.
    """
    try:
        return Transformer.from_crs(parse_crs(source), parse_crs(target), always_xy=True)
    except ProjError:
        raise SpecError(
            f"there is no transformation from {source[:80]!r} to {target[:80]!r}",
            field="spatial.crs",
        ) from None


def to_lonlat(crs: str, x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude of a point, degrees on WGS 84.

    Raises:
        SpecError: The point lies outside of what the reference system can describe.
    """
    _check_domain(crs, [x], [y])
    lon, lat = get_transformer(crs, WGS84).transform(x, y)
    return lon, lat


def region_geometry(region: Area) -> shapely.Geometry:
    """The area of a place in its own reference system, whole also across the antimeridian.

    There, longitudes go on beyond 180 degrees.

    Raises:
        SpecError: A polygon crosses itself, or a box has its edges the wrong way round or
            outside of what its reference system describes.
    """
    if isinstance(region, BBox):
        _check_domain(region.crs, [region.minlon, region.maxlon], [region.minlat, region.maxlat])
        return shapely.box(region.minlon, region.minlat, _maxlon(region), region.maxlat)
    many = (region.coordinates,) if isinstance(region, Polygon) else region.coordinates
    parts = [shapely.Polygon(rings[0], list(rings[1:])) for rings in many]
    for part in parts:
        if not part.is_valid:
            raise SpecError(
                f"the polygon is not valid: {shapely.is_valid_reason(part)}", field="spatial"
            )
    west, _, east, _ = shapely.total_bounds(parts)
    return shapely.union_all([_shift_east(part) for part in parts] if east - west > 180 else parts)


def reprojected(shape: shapely.Geometry, source: str, target: str) -> shapely.Geometry:
    """An area in another reference system, its straight edges as the curves that they become.

    Raises:
        SpecError: A part of it lies outside of what one of the two can describe.
    """
    left, bottom, right, top = shape.bounds
    dense = shapely.segmentize(shape, max(right - left, top - bottom) / DENSIFY_POINTS)
    moved = shapely.transform(dense, _point_transform(source, target), include_z=False)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise SpecError(
            f"the place reaches beyond what the crs {source[:80]!r} describes", field="spatial"
        )
    return moved


def _point_transform(
    source: str, target: str
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    change = get_transformer(source, target)
    return lambda points: np.column_stack(change.transform(points[:, 0], points[:, 1]))


def _check_domain(crs: str, x: list[float], y: list[float]) -> None:
    """Refuse points that do not come back from longitude and latitude to where they were."""
    there = get_transformer(crs, WGS84)
    back = there.transform(*there.transform(x, y), direction="INVERSE")
    if not np.allclose(back, [x, y], rtol=1e-6, atol=1e-6):
        raise SpecError(
            f"the point {x[-1]:g}, {y[-1]:g} lies outside of what the crs {crs[:80]!r} describes",
            field="spatial",
        )


def _maxlon(box: BBox) -> float:
    """The eastern edge of a box, beyond 180 degrees where the box crosses the antimeridian."""
    crs = parse_crs(box.crs)
    if box.minlon < box.maxlon:
        return box.maxlon
    if not crs.is_geographic:
        raise SpecError(
            f"the least x ({box.minlon:g}) must be less than the greatest ({box.maxlon:g})",
            field="spatial",
        )
    return box.maxlon + 2 * math.pi / crs.axis_info[0].unit_conversion_factor


def _shift_east(part: shapely.Polygon) -> shapely.Polygon:
    """A polygon that lies west of the prime meridian, moved once around the Earth."""
    if part.bounds[2] > 0:
        return part
    return shapely.affinity.translate(part, xoff=360)
