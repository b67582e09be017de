"""Regions: boxes, squares and polygons."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from geobento.schemas.errors import SpecError
from geobento.schemas.geometry import (
    MAX_VERTICES,
    BBox,
    MultiPolygon,
    PointBuffer,
    Polygon,
    Region,
    Spatial,
)
from geobento.schemas.requests import GeoEmbeddingRequest
from geobento.schemas.validation import validate

lon, lat = st.floats(-180, 180), st.floats(-90, 90)
TRIANGLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0))
REGIONS: TypeAdapter[Any] = TypeAdapter(Spatial)


def round_trip(region: Region) -> Region:
    """Through JSON and back."""
    made: Region = REGIONS.validate_json(REGIONS.dump_json(region))
    return made


@given(lon, lat, st.floats(0.001, 500_000))
def test_points_survive_json(x: float, y: float, buffer_m: float) -> None:
    """A region comes back from JSON as it went in."""
    region = PointBuffer(x, y, buffer_m)
    assert round_trip(region) == region


@given(lon, lon, lat, lat)
def test_boxes_survive_json_or_are_refused(x: float, other_x: float, y: float, z: float) -> None:
    """South before north; west after east is a box across the antimeridian."""
    if x != other_x and y < z:
        box = BBox(x, y, other_x, z)
        assert round_trip(box) == box
    else:
        with pytest.raises(SpecError, match="must be less than"):
            BBox(x, y, other_x, z)


@pytest.mark.parametrize(
    "region",
    [
        PointBuffer(4_321_000, 3_210_000, 500, "EPSG:3035"),
        BBox(4_321_000, 3_210_000, 4_322_000, 3_211_000, crs="EPSG:3035"),
        Polygon([TRIANGLE]),  # type: ignore[arg-type]
        MultiPolygon(((TRIANGLE,), (TRIANGLE,))),
    ],
    ids=lambda region: type(region).__name__,
)
def test_other_regions_survive_json(region: Region) -> None:
    """In any reference system, and as GeoJSON; all can be keys of a dictionary."""
    assert round_trip(region) == region
    assert len({region, round_trip(region)}) == 1


def test_polygons_are_written_as_geojson() -> None:
    """What goes out can be read by any program that knows GeoJSON."""
    assert REGIONS.dump_python(Polygon((TRIANGLE,)), mode="json") == {
        "type": "Polygon",
        "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]],
    }


def test_a_feature_is_its_geometry() -> None:
    """Properties, id, bounding box and altitudes change nothing."""
    feature = {
        "type": "Feature",
        "id": 7,
        "bbox": [0, 0, 1, 1],
        "properties": {"name": "field"},
        "geometry": {"type": "Polygon", "coordinates": [[[*point, 12.5] for point in TRIANGLE]]},
    }
    assert REGIONS.validate_python(feature) == Polygon((TRIANGLE,))


@pytest.mark.parametrize(
    "value",
    [
        {"type": "PointBuffer", "lon": 0, "lat": 0, "buffer_m": 1, "radius": 2},
        {"type": "PointBuffer", "lon": 0, "lat": 0, "buffer_m": 1, "crs": 4326},
        {"lon": 0, "lat": 0, "buffer_m": 1},
        {"type": "Point", "coordinates": [0, 0]},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [0, 0]}},
        {"type": "Feature", "geometry": None},
        {"type": "Polygon", "coordinates": [TRIANGLE], "crs": "EPSG:3035"},
    ],
)
def test_invalid_regions(value: object) -> None:
    """Missing tags, unknown keys, other geometries."""
    with pytest.raises(ValidationError):
        REGIONS.validate_python(value)


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        ([TRIANGLE[:3]], "at least 4 positions"),
        ([[(0, 0), (1, 0), (1, 1), (0, 1)]], "end with the position that it starts with"),
        ([TRIANGLE, []], "at least 4 positions"),
        ([], "at least one ring"),
        ([[(0, 0), (181, 0), (1, 1), (0, 0)]], "less than or equal to 180"),
        ([[(0, 0), (1, 91), (1, 1), (0, 0)]], "less than or equal to 90"),
        ([[(0, 0), (1, float("nan")), (1, 1), (0, 0)]], "finite"),
        ([[(0, 0), (1,), (1, 1), (0, 0)]], "required"),
        ([[(0, 0), *[(1, 1)] * MAX_VERTICES, (0, 0)]], "10000"),
        ([TRIANGLE] * 3000, "accepted: up to 10,000"),
    ],
)
def test_invalid_rings(coordinates: Any, message: str) -> None:
    """Closed, long enough, on the Earth, and of bounded size."""
    with pytest.raises(SpecError, match=message) as caught:
        Polygon(coordinates)
    assert (caught.value.field or "").startswith("coordinates")
    with pytest.raises(SpecError, match=message):
        MultiPolygon([coordinates])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("region", "field"),
    [
        ({"lon": 181, "lat": 0, "buffer_m": 1}, "lon"),
        ({"lon": 0, "lat": -90.1, "buffer_m": 1, "crs": "ogc:crs84"}, "lat"),
        ({"lon": 0, "lat": 0, "buffer_m": 1, "crs": ""}, "crs"),
    ],
)
def test_degrees_are_bounded(region: dict[str, Any], field: str) -> None:
    """Where coordinates are known to be degrees, they lie on the Earth."""
    with pytest.raises(SpecError) as caught:
        PointBuffer(**region)
    assert caught.value.field == field


@pytest.mark.parametrize("buffer_m", [0, -1, 500_001, float("inf"), float("nan")])
def test_the_size_of_a_square_is_bounded(buffer_m: float) -> None:
    """A buffer is a positive, finite number of metres and no continent."""
    with pytest.raises(SpecError) as caught:
        PointBuffer(0, 0, buffer_m)
    assert caught.value.field == "buffer_m"


RING = [[0, 0], [1, 0], [1, 1], [0, 0]]
CRS84 = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}


@pytest.mark.parametrize(
    "members",
    [
        {"bbox": [0, 0, 1, 1]},
        {"geodesic": False, "evenOdd": True},
        {"title": "a field", "properties": {}},
        {"crs": CRS84},
        {"crs": {"type": "name", "properties": {"name": "EPSG:4326"}}},
        {"crs": None},
    ],
    ids=lambda members: next(iter(members)),
)
def test_other_members_of_geojson_are_ignored(members: dict[str, Any]) -> None:
    """Of polygons and of features, such as a whole STAC item."""
    polygon = {"type": "Polygon", "coordinates": [RING]}
    feature = {"type": "Feature", "id": 5, "properties": None, "geometry": polygon}
    plain = parse(polygon)
    assert parse({**polygon, **members}) == plain
    assert parse({**feature, **members, "stac_version": "1.1.0", "assets": {}}) == plain
    assert parse({**feature, "geometry": {**polygon, **members}}) == plain


@pytest.mark.parametrize("crs", ["EPSG:3857", "urn:ogc:def:crs:EPSG::32632"])
def test_geojson_in_another_crs_is_an_error(crs: str) -> None:
    """Its positions would be read as degrees."""
    polygon = {"type": "Polygon", "coordinates": [RING]}
    member = {"crs": {"type": "name", "properties": {"name": crs}}}
    feature = {"type": "Feature", "geometry": polygon}
    for spatial in ({**polygon, **member}, {**feature, **member}):
        with pytest.raises(SpecError, match=f"not '{crs}'; reproject") as caught:
            parse(spatial)
        assert caught.value.field == "spatial.crs"


def parse(spatial: dict[str, Any]) -> Any:
    """A region of a request."""
    return validate(GeoEmbeddingRequest, {"model": "mosaiks", "spatial": spatial}).spatial
