"""Region geometries in any coordinate reference system: validation and reprojection. Pure."""

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
"""Points along the longer side of a geometry before reprojection, which bends straight edges.
2000 points stay within 2 mm of the curve over six degrees."""

_FILE_REFERENCES = re.compile(r"grids|file|\+init|\bpipeline\b", re.IGNORECASE)
"""CRS definitions that would make PROJ read local files."""


@lru_cache(maxsize=256)
def parse_crs(crs: str) -> CRS:
    """The coordinate reference system of a name or definition.

    Raises:
        SpecError: The CRS is unknown, or is not a horizontal, two-dimensional one.
    """
    try:
        if _FILE_REFERENCES.search(crs):
            raise CRSError("names files")
        parsed = CRS.from_user_input(crs)
    except CRSError:
        raise SpecError(
            f"the crs {crs[:80]!r} is not known; accepted: a name such as 'EPSG:4326' or "
            "'EPSG:3035', or WKT",
            field="spatial.crs",
        ) from None
    if not (parsed.is_geographic or parsed.is_projected) or len(parsed.axis_info) != 2:
        raise SpecError(
            f"the crs {crs[:80]!r} is not one of two coordinates on the ground; accepted: "
            "geographic or projected ones",
            field="spatial.crs",
        )
    return parsed


@lru_cache(maxsize=256)
def get_transformer(source: str, target: str) -> Transformer:
    """The transformer between two reference systems, in (x, y) order.

    Raises:
        SpecError: A CRS is unknown, or there is no transformation between the two.
    """
    try:
        return Transformer.from_crs(parse_crs(source), parse_crs(target), always_xy=True)
    except ProjError:
        raise SpecError(
            f"there is no transformation from {source[:80]!r} to {target[:80]!r}",
            field="spatial.crs",
        ) from None


def to_lonlat(crs: str, x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude of a point, WGS 84 degrees.

    Raises:
        SpecError: The point lies outside the domain of the CRS.
    """
    _check_domain(crs, [x], [y])
    lon, lat = get_transformer(crs, WGS84).transform(x, y)
    return lon, lat


def region_geometry(region: Area) -> shapely.Geometry:
    """The geometry of a region in its own CRS.

    Across the antimeridian, longitudes continue beyond 180 degrees, so that the geometry is whole.

    Raises:
        SpecError: A polygon is invalid, or a box has swapped edges or leaves the domain of its
            CRS.
    """
    if isinstance(region, BBox):
        _check_domain(region.crs, [region.minlon, region.maxlon], [region.minlat, region.maxlat])
        return shapely.box(region.minlon, region.minlat, _maxlon(region), region.maxlat)
    polygons = (region.coordinates,) if isinstance(region, Polygon) else region.coordinates
    parts = [shapely.Polygon(rings[0], list(rings[1:])) for rings in polygons]
    for part in parts:
        if not part.is_valid:
            raise SpecError(
                f"the polygon is not valid: {shapely.is_valid_reason(part)}", field="spatial"
            )
    west, _, east, _ = shapely.total_bounds(parts)
    return shapely.union_all([_shift_east(part) for part in parts] if east - west > 180 else parts)


def reprojected(shape: shapely.Geometry, source: str, target: str) -> shapely.Geometry:
    """A geometry in another CRS, densified so that its edges follow the curves.

    Raises:
        SpecError: A part lies outside the domain of one of the two systems.
    """
    left, bottom, right, top = shape.bounds
    dense = shapely.segmentize(shape, max(right - left, top - bottom) / DENSIFY_POINTS)
    result = shapely.transform(dense, _point_transform(source, target), include_z=False)
    if not np.isfinite(shapely.get_coordinates(result)).all():
        raise SpecError(
            f"the region reaches beyond the domain of the crs {source[:80]!r}", field="spatial"
        )
    return result


def _point_transform(
    source: str, target: str
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    transformer = get_transformer(source, target)
    return lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1]))


def _check_domain(crs: str, x: list[float], y: list[float]) -> None:
    """Raise for points that do not survive the round trip through longitude and latitude."""
    transformer = get_transformer(crs, WGS84)
    round_trip = transformer.transform(*transformer.transform(x, y), direction="INVERSE")
    if not np.allclose(round_trip, [x, y], rtol=1e-6, atol=1e-6):
        raise SpecError(
            f"the point {x[-1]:g}, {y[-1]:g} lies outside the domain of the crs {crs[:80]!r}",
            field="spatial",
        )


def _maxlon(box: BBox) -> float:
    """The eastern edge of a box; beyond 180 degrees if the box crosses the antimeridian."""
    crs = parse_crs(box.crs)
    if box.minlon < box.maxlon:
        return box.maxlon
    if not crs.is_geographic:
        raise SpecError(
            f"the minimum x ({box.minlon:g}) must be less than the maximum x ({box.maxlon:g})",
            field="spatial",
        )
    return box.maxlon + 2 * math.pi / crs.axis_info[0].unit_conversion_factor


def _shift_east(part: shapely.Polygon) -> shapely.Polygon:
    """A polygon, shifted by 360 degrees if it lies west of the prime meridian."""
    if part.bounds[2] > 0:
        return part
    return shapely.affinity.translate(part, xoff=360)
