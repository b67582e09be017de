"""From a card and a request to a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import GeoBentoError, ModelError, PayloadTooLarge, SpecError
from geobento.schemas.geometry import Polygon
from geobento.schemas.requests import GeoEmbeddingRequest, ImageEmbeddingRequest
from geobento.schemas.specs import (
    BBox,
    FetchSpec,
    InputPrepSpec,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    TemporalSpec,
)
from imagery.collections import registry
from models import registry as models_registry
from models.anysat.card import CARD as ANYSAT
from models.base import Model
from models.gse.model import Gse
from models.mosaiks.model import Mosaiks
from pipeline.planning.geo import GeoPlan, check_image_request, plan_geo
from pipeline.planning.limits import Limits

CARD = Mosaiks.card
S2_BANDS = Mosaiks.card.modalities["s2"].sensor.bands

REGION = PointBuffer(34.066, -3.401, 1000)
SENSOR = SensorSpec("COPERNICUS/S2_SR_HARMONIZED", S2_BANDS)


def plan(card: ModelCard = CARD, limit: int = 100_000, **fields: Any) -> list[GeoPlan]:
    """The plans of a request, valid unless `fields` say otherwise."""
    fields = {"spatial": REGION, "temporal": TemporalSpec.year(2023), **fields}
    request = GeoEmbeddingRequest.model_validate({"model": "m", **fields})
    _, plans = plan_geo(
        card, request, served_modalities=("rgb", *card.modalities), limits=Limits(limit)
    )
    for made in plans:
        if isinstance(made, GeoBentoError):
            raise made
    return cast("list[GeoPlan]", plans)


def test_the_plan_holds_all_that_determines_the_pixels() -> None:
    """Default sensor, grid on the sensor's lattice, half-open window, pooling."""
    (made,) = plan()
    assert made.query.sensor == SENSOR
    assert made.query.grid.shape == (200, 200)
    assert made.query.grid.transform[2] % 10 == 0
    assert (made.query.start.isoformat()[:10], made.query.end.isoformat()[:10]) == (
        "2023-01-01",
        "2024-01-01",
    )
    assert (made.query.modality, made.backend, made.pooling) == ("s2", "auto", "native")
    assert plan(output=OutputSpec.grid())[0].pooling is None
    assert plan(output=OutputSpec.pooled("max"))[0].pooling == "max"


def test_fetch_changes_single_settings() -> None:
    """What is not named stays as the model has it."""
    (made,) = plan(fetch=FetchSpec(scale_m=20, composite="mosaic"))
    assert made.query.sensor == replace(SENSOR, scale_m=20, composite="mosaic")
    assert made.query.grid.resolution == (20, 20)
    assert plan(fetch=FetchSpec(cloudy_pct=0))[0].query.sensor.cloudy_pct == 0


def test_sensor_replaces_the_whole() -> None:
    """Another collection with the same bands."""
    other = replace(SENSOR, scale_m=60, cloudy_pct=None)
    assert plan(sensor=other)[0].query.sensor == other


@pytest.mark.parametrize(
    ("start", "end", "year"),
    [
        ("2023-01-01", "2024-01-01", 2023),
        ("2024-02-29", "2024-03-01", 2024),
        ("2022-12-31T23:59:59Z", "2023-01-01", 2022),
        ("2023-06-01", "2024-01-01T00:00:01Z", None),
        ("2021-01-01", "2023-01-01", None),
    ],
)
def test_a_product_of_years(start: str, end: str, year: int | None) -> None:
    """A window within one year becomes that year; one of several is refused."""
    window = TemporalSpec.range(start, end)
    if year is None:
        with pytest.raises(ModelError, match="one image per calendar year") as caught:
            plan(Gse.card, temporal=window)
        assert caught.value.field == "temporal"
        return
    (made,) = plan(Gse.card, temporal=window)
    assert (made.query.start, made.query.end) == TemporalSpec.year(year).window


def test_models_may_take_smaller_regions_than_the_service() -> None:
    """The smaller of the two bounds holds."""
    large = PointBuffer(34.066, -3.401, 3000)
    assert plan(limit=500_000, spatial=large)
    with pytest.raises(PayloadTooLarge, match="up to 262,144"):
        plan(Gse.card, limit=500_000, spatial=large)
    with pytest.raises(PayloadTooLarge, match="up to 1,000"):
        plan(Gse.card, limit=1000)


def test_every_region_has_its_plan() -> None:
    """In order, each in its own zone."""
    regions = [REGION, BBox(11, 48, 11.01, 48.01)]
    plans = plan(spatial=None, spatials=regions)
    assert [made.query.grid.crs for made in plans] == ["EPSG:32736", "EPSG:32632"]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"sensor": SENSOR, "fetch": FetchSpec(scale_m=20)}, "fetch", "one of the two"),
        ({"sensor": replace(SENSOR, bands=("B4",))}, "sensor.bands", "in this order"),
        ({"sensor": replace(SENSOR, orbit="ASCENDING")}, "sensor.orbit", "is for Sentinel-1"),
        ({"sensor": replace(SENSOR, s1_require_iw=False)}, "sensor.s1_require_iw", "Sentinel-1"),
        (
            {"sensor": replace(SENSOR, use_float_linear=False)},
            "sensor.use_float_linear",
            "accepted: true",
        ),
        ({"sensor": replace(SENSOR, collection="X")}, "sensor.collection", "accepted"),
        (
            {
                "sensor": replace(
                    SENSOR, collection="MODIS/061/MOD09GA", cloud_mask="cloud_score_plus"
                )
            },
            "sensor.cloud_mask",
            "Sentinel-2 alone",
        ),
        ({"sensor": replace(SENSOR, modality="s1")}, "sensor.modality", "accepted: s2"),
        ({"modality": "sentinel-1"}, "modality", "'sentinel-1'; accepted: s2"),
        ({"modality": "rgb"}, "modality", "accepted: s2"),
        ({"model_config": {"a": 1}}, "model_config.a", "accepted: variant"),
        ({"input_prep": "tile"}, "input_prep.tile_size", "reads a region of any size whole"),
        ({"temporal": None}, "temporal", "time window"),
        ({"spatial": PointBuffer(0, 0, 9)}, "spatial", "at least 3 x 3"),
    ],
)
def test_contract_errors(fields: dict[str, Any], field: str, message: str) -> None:
    """All are raised before a byte is fetched, and name the field and what is accepted."""
    with pytest.raises(ModelError, match=message) as caught:
        plan(**fields)
    assert caught.value.field == field


ORTHOS = SensorSpec("Germany/Brandenburg/orthos/20cm", tuple("RGBN"), 0.2, modality="aerial")


def test_only_the_imagery_that_a_model_was_trained_on() -> None:
    """NAIP has the bands of aerial images, but weights of its own; the error says what is read."""
    small: dict[str, Any] = {
        "spatial": PointBuffer(13.4, 52.5, 40),
        "temporal": None,
        "limit": 10**6,
    }
    (made,) = plan(ANYSAT, sensor=ORTHOS, **small)
    assert made.query.grid.shape == (400, 400)
    naip = replace(ORTHOS, collection="USDA/NAIP/DOQQ")
    with pytest.raises(ModelError, match=r": Germany/.*, or user-supplied pixels$") as caught:
        plan(ANYSAT, sensor=naip, **small)
    assert caught.value.field == "sensor.collection"


def test_a_further_modality_needs_a_window_where_the_first_does_not() -> None:
    """Aerial images are the same at all times, Sentinel-2 beside them is not."""
    small: dict[str, Any] = {"spatial": PointBuffer(13.4, 52.5, 40), "limit": 10**6}
    aerial = {"sensor": ORTHOS} | small
    (made,) = plan(ANYSAT, auxiliary_modalities=["s2"], **aerial)
    assert made.auxiliary[0].frames == 8
    with pytest.raises(ModelError, match="S2_SR_HARMONIZED needs a time window") as caught:
        plan(ANYSAT, auxiliary_modalities=["s2"], temporal=None, **aerial)
    assert caught.value.field == "temporal"
    (made,) = plan(ANYSAT, auxiliary_modalities=["aerial"], **small)
    assert made.auxiliary[0].grid.shape == (400, 400)


@pytest.mark.parametrize(
    ("card", "modality"),
    [
        (cls.card, name)
        for cls in models_registry.list_model_classes()
        for name in cls.card.modalities
    ],
)
def test_sensors_without_the_bands(card: ModelCard, modality: str) -> None:
    """Every model names all the bands that it reads, and what it got."""
    spec = card.modalities[modality]
    sensor = replace(spec.sensor, bands=("B99", *spec.sensor.bands[1:]), modality=modality)
    with pytest.raises(ModelError, match="got B99") as caught:
        plan(card, sensor=sensor, temporal=TemporalSpec.year(2023), limit=10**9)
    assert caught.value.field == "sensor.bands"
    assert all(band in caught.value.message for band in spec.bands)


@pytest.mark.parametrize("cls", models_registry.list_model_classes())
def test_all_that_models_read_can_be_had(cls: type[Model]) -> None:
    """Every modality is of a collection that some source reads, with all of its bands."""
    for spec in cls.card.modalities.values():
        assert set(spec.sensor.bands) <= set(registry.get(spec.sensor.collection).bands)


def test_regions_that_are_too_large() -> None:
    """Also one whose grid could not even be computed; the field names which."""
    with pytest.raises(PayloadTooLarge, match="accepted: up to 10,000") as caught:
        plan(limit=10_000)
    assert caught.value.field == "spatial"
    huge = BBox(-5, -60, 0.9, 60)
    with pytest.raises(PayloadTooLarge) as caught:
        plan(spatial=None, spatials=[REGION, huge])
    assert caught.value.field == "spatials.1"


def test_regions_outside_utm_name_their_region() -> None:
    """The grid knows no request; the plan says which of several regions it was."""
    with pytest.raises(SpecError) as caught:
        plan(spatial=None, spatials=[REGION, PointBuffer(0, 88, 100)])
    assert caught.value.field == "spatials.1"
    with pytest.raises(SpecError, match="'EPSG:1' is not known") as caught:
        plan(spatial=None, spatials=[REGION, PointBuffer(0, 8, 100, "EPSG:1")])
    assert caught.value.field == "spatials.1.crs"


def test_models_that_do_not_take_part() -> None:
    """The error leads to the other endpoint."""
    images_only = CARD.model_copy(update={"modalities": {}})
    with pytest.raises(ModelError, match="/image_embedding"):
        plan(card=images_only)
    regions_only = CARD.model_copy(update={"image": None})
    request = ImageEmbeddingRequest(model="m", images=["aa"])
    with pytest.raises(ModelError, match="/geo_embedding"):
        check_image_request(regions_only, request)
    check_image_request(CARD, request)


def test_outputs_that_a_model_does_not_offer() -> None:
    """A card may offer vectors alone."""
    vectors_only = CARD.model_copy(update={"outputs": ("pooled",)})
    with pytest.raises(ModelError, match="accepted: pooled"):
        plan(card=vectors_only, output=OutputSpec.grid())


@pytest.mark.parametrize("name", ["s2", "S2", "sentinel-2", "Sentinel2", "sentinel_2_l2a"])
def test_names_of_a_modality(name: str) -> None:
    """The sample carries the card's own name, whichever name the request used."""
    assert plan(modality=name)[0].query.modality == "s2"
    assert plan(sensor=replace(SENSOR, modality=name))[0].query.modality == "s2"


def test_two_names_for_two_modalities() -> None:
    """Where the sensor and the request disagree, neither is preferred."""
    two = CARD.model_copy(update={"modalities": {**CARD.modalities, "rgb": CARD.modalities["s2"]}})
    assert plan(two, modality="S2", sensor=replace(SENSOR, modality="sentinel-2"))
    with pytest.raises(ModelError, match="one of the two") as caught:
        plan(two, modality="rgb", sensor=replace(SENSOR, modality="s2"))
    assert caught.value.field == "sensor.modality"


def test_without_a_window() -> None:
    """The card's default is taken; what is the same at all times needs none."""
    with_default = CARD.model_copy(update={"default_temporal": TemporalSpec.year(2019)})
    assert plan(with_default, temporal=None)[0].query.start.year == 2019
    dem = SensorSpec("COPERNICUS/DEM/GLO30", ("DEM",), 30)
    elevation = CARD.modalities["s2"].model_copy(update={"sensor": dem})
    static = CARD.model_copy(update={"modalities": {"s2": elevation}})
    (made,) = plan(static, temporal=None)
    assert made.query.start < made.query.end


def test_folders_for_images() -> None:
    """Only where the caller's own process writes them, and only with the check they belong to."""
    saving = replace(SENSOR, check_input=True, check_save_dir="/tmp")
    for sensor, may_save, message in (
        (saving, False, "a server writes no images"),
        (replace(saving, check_input=False), True, "needs check_input"),
    ):
        request = GeoEmbeddingRequest(
            model="m", spatial=REGION, temporal=TemporalSpec.year(2023), sensor=sensor
        )
        with pytest.raises(SpecError, match=message) as caught:
            plan_geo(CARD, request, served_modalities=("s2",), limits=Limits(100_000, may_save))
        assert caught.value.field == "sensor.check_save_dir"
    assert plan(sensor=replace(SENSOR, check_input=True))


def test_radar_has_a_direction_and_a_mode() -> None:
    """What is refused for optical sensors is handed to the source for Sentinel-1."""
    radar = SensorSpec("COPERNICUS/S1_GRD_FLOAT", ("VV", "VH"))
    modality = CARD.modalities["s2"].model_copy(update={"sensor": radar})
    card = CARD.model_copy(update={"modalities": {"s2": modality}})
    request = replace(radar, orbit="DESCENDING", s1_require_iw=False)
    assert plan(card, sensor=request)[0].query.sensor == request


def test_class_tokens() -> None:
    """`pooling: cls` is asked of every tile, and of models that have a class token."""
    output = OutputSpec.pooled("cls")
    with pytest.raises(ModelError, match="mosaiks has no class token; accepted: native, mean, max"):
        plan(output=output)
    card = CARD.model_copy(update={"class_token": True})
    for prep in ("resize", InputPrepSpec("tile", 64)):
        (made,) = plan(card, output=output, input_prep=prep)
        assert (made.pooling, made.encode_pooling) == ("cls", "cls")
    area = Polygon((((34.06, -3.40), (34.07, -3.40), (34.07, -3.41), (34.06, -3.40)),))
    with pytest.raises(ModelError, match="cannot leave out what lies"):
        plan(card, output=output, spatial=area)
