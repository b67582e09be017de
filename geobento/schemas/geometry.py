"""Regions of requests: boxes, squares around points, GeoJSON polygons."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field

from geobento.schemas.validation import field_error, geojson_object, validated_spec

MAX_VERTICES = 10_000
"""Maximum number of positions of a polygon, over all its rings."""

LONLAT_CRS = ("EPSG:4326", "OGC:CRS84")
"""Names of longitude and latitude in degrees on WGS 84."""

Crs = Annotated[
    str, Field(min_length=1, max_length=8192, examples=["EPSG:4326", "EPSG:3035", "ESRI:54009"])
]


def is_lonlat(crs: str) -> bool:
    """Whether the name of a CRS means longitude and latitude in degrees."""
    return crs.upper() in LONLAT_CRS


@validated_spec
class BBox:
    """A rectangle along the axes of its coordinate reference system."""

    minlon: float
    """Western edge, degrees; in another CRS: minimum x."""
    minlat: float
    """Southern edge, degrees; in another CRS: minimum y."""
    maxlon: float
    """Eastern edge, degrees; less than `minlon` if the box crosses the antimeridian."""
    maxlat: float
    """Northern edge, degrees; greater than `minlat`."""
    crs: Crs = "EPSG:4326"
    """CRS of the four numbers, always x before y."""
    type: Literal["BBox"] = "BBox"

    def __post_init__(self) -> None:
        if is_lonlat(self.crs):
            _check_degrees(self, longitudes=("minlon", "maxlon"), latitudes=("minlat", "maxlat"))
        if self.minlon == self.maxlon:
            raise ValueError(
                f"minlon and maxlon are both {self.minlon}; minlon must be less than maxlon, or "
                "greater for a box across the antimeridian"
            )
        if not self.minlat < self.maxlat:
            raise ValueError(f"minlat ({self.minlat}) must be less than maxlat ({self.maxlat})")


@validated_spec
class PointBuffer:
    """A square around a point: `buffer_m` ground metres to the north, south, east and west."""

    lon: float
    """Longitude of the centre, degrees; in another CRS: x."""
    lat: float
    """Latitude of the centre, degrees; in another CRS: y."""
    buffer_m: Annotated[float, Field(gt=0, le=500_000)]
    """Half the side of the square, in metres on the ground."""
    crs: Crs = "EPSG:4326"
    """CRS of `lon` and `lat`, always x before y."""
    type: Literal["PointBuffer"] = "PointBuffer"

    def __post_init__(self) -> None:
        if is_lonlat(self.crs):
            _check_degrees(self, longitudes=("lon",), latitudes=("lat",))


def _check_degrees(geometry: Any, longitudes: tuple[str, ...], latitudes: tuple[str, ...]) -> None:
    for names, kind, limit in ((longitudes, "longitude", 180), (latitudes, "latitude", 90)):
        for name in names:
            value = getattr(geometry, name)
            if not -limit <= value <= limit:
                raise field_error(
                    name, f"{value:g} is not a {kind}; accepted: -{limit} to {limit} degrees"
                )


# -- GeoJSON, RFC 7946 -------------------------------------------------------------------------


def _without_altitude(value: Any) -> Any:
    return value[:2] if isinstance(value, list | tuple) and len(value) == 3 else value


Position = Annotated[
    tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]],
    BeforeValidator(_without_altitude),
]
"""Longitude and latitude, degrees. An altitude may follow and is ignored."""


def _close_ring(ring: tuple[Position, ...]) -> tuple[Position, ...]:
    if len(ring) < 4:
        raise ValueError(f"a ring has at least 4 positions, got {len(ring)}")
    if ring[0] != ring[-1]:
        raise ValueError("a ring must end with the position that it starts with")
    return ring


Ring = Annotated[tuple[Position, ...], Field(max_length=MAX_VERTICES), AfterValidator(_close_ring)]
"""A closed ring; its edges are straight in longitude and latitude."""

Rings = tuple[Ring, ...]
"""The outer ring of a polygon, then its holes."""


def _check_rings(polygons: tuple[Rings, ...]) -> None:
    if not polygons or not all(polygons):
        raise field_error("coordinates", "a polygon has at least one ring")
    count = sum(len(ring) for rings in polygons for ring in rings)
    if count > MAX_VERTICES:
        raise field_error(
            "coordinates",
            f"the polygon has {count:,} positions; accepted: up to {MAX_VERTICES:,}. "
            "Simplify it first",
        )


@geojson_object
class Polygon:
    """A GeoJSON polygon. Its bounding box is fetched; only pixels inside count."""

    coordinates: Rings
    """Rings of positions (longitude, latitude): the outer one, then the holes."""
    type: Literal["Polygon"] = "Polygon"

    crs: ClassVar[str] = LONLAT_CRS[0]

    def __post_init__(self) -> None:
        _check_rings((self.coordinates,))


@geojson_object
class MultiPolygon:
    """Several GeoJSON polygons as one region.

    A region across the antimeridian is cut there into polygons on both sides.
    """

    coordinates: tuple[Rings, ...]
    """For each polygon the outer ring, then the holes."""
    type: Literal["MultiPolygon"] = "MultiPolygon"

    crs: ClassVar[str] = LONLAT_CRS[0]

    def __post_init__(self) -> None:
        _check_rings(self.coordinates)


@geojson_object
class Feature:
    """A GeoJSON feature; its geometry is the region, the rest is ignored."""

    geometry: Annotated[Polygon | MultiPolygon, Discriminator("type")]
    """The region."""
    type: Literal["Feature"] = "Feature"


Area: TypeAlias = BBox | Polygon | MultiPolygon
"""A region with edges: a box or polygons."""

Region: TypeAlias = PointBuffer | Area
"""A region."""


def _unwrap_feature(value: Region | Feature) -> Region:
    return value.geometry if isinstance(value, Feature) else value


Spatial: TypeAlias = Annotated[
    Annotated[PointBuffer | BBox | Polygon | MultiPolygon | Feature, Discriminator("type")],
    AfterValidator(_unwrap_feature),
]
"""A region in a request; a feature becomes its geometry."""
