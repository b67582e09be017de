"""Reference systems and outlines."""

from __future__ import annotations

import pytest
import shapely
from pyproj import CRS

from geobento.schemas.errors import SpecError
from geobento.schemas.geometry import Area, BBox, MultiPolygon, Polygon
from imagery import geometry

SQUARE = ((0, 0), (2, 0), (2, 2), (0, 2), (0, 0))
HOLE = ((0.5, 0.5), (1, 0.5), (1, 1), (0.5, 0.5))


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:3035",
        "epsg:4326",
        "ESRI:54009",
        "OGC:CRS84",
        "urn:ogc:def:crs:EPSG::27700",
        CRS("EPSG:27700").to_wkt(),
        CRS("EPSG:3035").to_json(),
        "+proj=laea +lat_0=52 +lon_0=10 +ellps=GRS80",
    ],
    ids=lambda crs: str(crs)[:30],
)
def test_reference_systems_that_are_known(crs: str) -> None:
    """Names of authorities and definitions, also of one whose name has the word grid."""
    assert geometry.parse_crs(crs) == CRS(crs)


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:999999",
        "here",
        "EPSG:4978",
        "EPSG:4979",
        "EPSG:5773",
        "/etc/passwd",
        "+proj=longlat +nadgrids=/etc/passwd",
        "+proj=longlat +datum=WGS84 +geoidgrids = @/etc/passwd +vunits=m",
        "+init=/etc/passwd:1",
        'GEOGCS["a",DATUM["b",SPHEROID["c",6378137,298.257223563],'
        'EXTENSION["PROJ4_GRIDS","/etc/passwd"]],PRIMEM["Greenwich",0],'
        'UNIT["degree",0.0174532925199433]]',
        'BOUNDCRS[SOURCECRS[GEOGCRS["a",DATUM["b",ELLIPSOID["c",6378137,298.257223563]],'
        'CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],'
        'ANGLEUNIT["degree",0.0174532925199433]]],TARGETCRS[GEOGCRS["WGS 84",'
        'DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563]],'
        'CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],'
        'ANGLEUNIT["degree",0.0174532925199433]]],ABRIDGEDTRANSFORMATION["d",'
        'METHOD["NTv2",ID["EPSG",9615]],PARAMETERFILE["e","/etc/passwd",ID["EPSG",8656]]]]',
    ],
)
def test_reference_systems_that_are_refused(crs: str) -> None:
    """Unknown ones, those without two coordinates on the ground, and those that read files."""
    with pytest.raises(SpecError, match="accepted") as caught:
        geometry.parse_crs(crs)
    assert caught.value.field == "spatial.crs"


def test_other_bodies_are_refused() -> None:
    """There is no way from Mars to a region on the Earth."""
    with pytest.raises(SpecError, match="no transformation") as caught:
        geometry.to_lonlat("IAU_2015:49900", 0, 0)
    assert caught.value.field == "spatial.crs"


@pytest.mark.parametrize(
    ("crs", "x"), [("EPSG:3857", 3e7), ("EPSG:3035", 1e12), ("EPSG:32633", 1e9)]
)
def test_points_outside_of_a_reference_system(crs: str, x: float) -> None:
    """Coordinates beyond the range are not wrapped around the Earth."""
    with pytest.raises(SpecError, match="lies outside") as caught:
        geometry.to_lonlat(crs, x, 0)
    assert caught.value.field == "spatial"
    with pytest.raises(SpecError, match="lies outside"):
        geometry.region_geometry(BBox(0, 0, x, 1, crs))


def test_a_box_across_the_antimeridian_is_whole() -> None:
    """It goes on beyond 180 degrees; a reference system of the plane has nothing to cross."""
    assert geometry.region_geometry(BBox(179, 0, -179, 1)).bounds == (179, 0, 181, 1)
    assert geometry.region_geometry(BBox(179, 0, -179, 1, "EPSG:4258")).bounds == (179, 0, 181, 1)
    with pytest.raises(SpecError, match="must be less than the maximum") as caught:
        geometry.region_geometry(BBox(5, 0, 4, 1, "EPSG:3857"))
    assert caught.value.field == "spatial"


@pytest.mark.parametrize(
    ("region", "area"),
    [
        (Polygon((SQUARE,)), 4),
        (Polygon((SQUARE, HOLE)), 4 - 0.125),
        (MultiPolygon(((SQUARE,), (SQUARE,))), 4),
        (MultiPolygon(((SQUARE, HOLE), (HOLE,))), 4),
        (Polygon((SQUARE[::-1],)), 4),
    ],
)
def test_areas(region: Area, area: float) -> None:
    """Holes are left out, what two parts share counts once, the winding does not matter."""
    assert shapely.area(geometry.region_geometry(region)) == pytest.approx(area)


@pytest.mark.parametrize(
    "ring", [((0, 0), (1, 1), (1, 0), (0, 1), (0, 0)), ((0, 0), (1, 1), (2, 2), (0, 0))]
)
def test_polygons_that_are_not_valid(ring: tuple[tuple[float, float], ...]) -> None:
    """A ring that crosses itself, or has no area, has no inside to count."""
    with pytest.raises(SpecError, match="not valid") as caught:
        geometry.region_geometry(Polygon((ring,)))
    assert caught.value.field == "spatial"


def test_straight_edges_become_curves() -> None:
    """A parallel of latitude bulges to the north in a zone of the northern hemisphere."""
    box = BBox(9, 50, 15, 51)
    moved = geometry.reprojected(geometry.region_geometry(box), box.crs, "EPSG:32633")
    corners = geometry.get_transformer(box.crs, "EPSG:32633").transform([9, 12, 15], [50, 50, 50])
    assert moved.bounds[1] == pytest.approx(min(corners[1]), abs=0.01)
    assert max(corners[1]) - min(corners[1]) > 5000
