"""The collections that requests may name, and what catalogs call their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from geobento.schemas.errors import ModelError
from geobento.suggestions import did_you_mean
from imagery.collections.schema import CloudScore, Collection, EarthEngineMetadata
from imagery.compositing import MASKED_CLASSES, QualityMask
from imagery.stac.catalogs.presets import PRESETS


def _sentinel_2_bands(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Earth Search has common names, Planetary Computer zero-padded ones."""
    return {band: (common, f"B{band[1:].zfill(2)}") for band, common in names.items()}


_S2_L2A = {
    "B1": "coastal",
    "B2": "blue",
    "B3": "green",
    "B4": "red",
    "B5": "rededge1",
    "B6": "rededge2",
    "B7": "rededge3",
    "B8": "nir",
    "B8A": "nir08",
    "B9": "nir09",
    "B11": "swir16",
    "B12": "swir22",
}

CLOUD_SCORE_PLUS = CloudScore("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "cs_cdf", 0.6)

_S2_GEE = EarthEngineMetadata(
    cloud_property="CLOUDY_PIXEL_PERCENTAGE",
    platform_property="SPACECRAFT_NAME",
    tile_property="MGRS_TILE",
    processing_properties=("PROCESSING_BASELINE", "GENERATION_TIME"),
    cloud_score=CLOUD_SCORE_PLUS,
    integer_range=(0, 30_000),
)
_S1_GEE = EarthEngineMetadata(
    platform_property="platform_number",
    radar=True,
    notice=(
        "radar backscatter is sigma nought of ground range products, not the terrain-corrected "
        "gamma nought that STAC catalogs hold"
    ),
)
_HLS_MASK = QualityMask("Fmask", bits=(1, 2, 3))
_LANDSAT_MASK = QualityMask("QA_PIXEL", bits=(0, 1, 2, 3, 4))
_LANDSAT_REFLECTANCE = {
    f"SR_B{number}": (name,)
    for number, name in enumerate(
        ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22"), start=1
    )
}
_MODIS_STATE = QualityMask("StateQA", bits=(0, 1, 2, 9, 10))
"""Cloud state other than clear (3 is: not set), shadow, cirrus that is more than small, and cloud
by a second algorithm."""
_POLARIZATIONS = ("VV", "VH", "HH", "HV")
_MODIS_REFLECTANCE = tuple(f"sur_refl_b0{number}" for number in range(1, 8))


def _gee_only(*bands: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(bands, ())


def _hls(collection_id: str, stac: str, bands: tuple[str, ...]) -> Collection:
    """Catalogs have integers where Earth Engine has reflectance."""
    return Collection(
        id=collection_id,
        stac_collections=(stac,),
        bands={band: (f"B{band[1:].zfill(2)}",) for band in bands},
        units="surface reflectance",
        nodata=-9999,
        snap_m=30,
        cloud_property="eo:cloud_cover",
        mask=_HLS_MASK,
        mask_assets=("Fmask",),
        stac_scale=1e-4,
        gee=EarthEngineMetadata(cloud_property="CLOUD_COVERAGE"),
    )


def _modis_8_day(collection_id: str, platform: str) -> Collection:
    """On a sinusoidal lattice, dated by the first of their days."""
    return Collection(
        id=collection_id,
        stac_collections=("modis-09A1-061",),
        bands={band: (band,) for band in _MODIS_REFLECTANCE},
        units="digital numbers, surface reflectance x 10000",
        scaling=dict.fromkeys(_MODIS_REFLECTANCE, (1e-4, 0.0)),
        nodata=-28672,
        mask=_MODIS_STATE,
        mask_assets=("sur_refl_state_500m",),
        stac_properties={"platform": platform},
        valid_range=(-100, 16_000),
        gee=EarthEngineMetadata(integer_range=(-100, 16_000)),
    )


def _landsat(collection_id: str, platform: str) -> Collection:
    """Corners lie at odd multiples of 15 m: no lattice that grids are snapped to."""
    return Collection(
        id=collection_id,
        stac_collections=("landsat-c2-l2",),
        bands={**_LANDSAT_REFLECTANCE, "ST_B10": ("lwir11",)},
        units="digital numbers of surface reflectance; ST_B10: of surface temperature, kelvin",
        scaling={
            **dict.fromkeys(_LANDSAT_REFLECTANCE, (2.75e-5, -0.2)),
            "ST_B10": (0.00341802, 149.0),
        },
        nodata=0,
        cloud_property="eo:cloud_cover",
        mask=_LANDSAT_MASK,
        mask_assets=("qa_pixel",),
        stac_properties={"platform": platform, "landsat:collection_category": "T1"},
        gee=EarthEngineMetadata(cloud_property="CLOUD_COVER", integer_range=(1, 65_533)),
    )


COLLECTIONS = {
    collection.id: collection
    for collection in (
        Collection(
            id="COPERNICUS/S2_SR_HARMONIZED",
            stac_collections=("sentinel-2-l2a", "sentinel-2-c1-l2a"),
            bands=_sentinel_2_bands(_S2_L2A),
            units="digital numbers, surface reflectance x 10000",
            nodata=0,
            snap_m=10,
            cloud_property="eo:cloud_cover",
            mask=QualityMask("SCL", classes=MASKED_CLASSES),
            mask_assets=("scl", "SCL"),
            harmonized=True,
            valid_range=(-1000, 20_000),
            scaling=dict.fromkeys(_S2_L2A, (1e-4, 0.0)),
            gee=_S2_GEE,
        ),
        Collection(
            id="COPERNICUS/S2_HARMONIZED",
            stac_collections=("sentinel-2-l1c",),
            bands=_sentinel_2_bands({**_S2_L2A, "B10": "cirrus"}),
            units="digital numbers, top-of-atmosphere reflectance x 10000",
            nodata=0,
            snap_m=10,
            cloud_property="eo:cloud_cover",
            harmonized=True,
            valid_range=(-1000, 20_000),
            scaling=dict.fromkeys((*_S2_L2A, "B10"), (1e-4, 0.0)),
            gee=_S2_GEE,
        ),
        Collection(
            id="COPERNICUS/S1_GRD_FLOAT",
            stac_collections=("sentinel-1-rtc",),
            bands={name: (name.lower(), name) for name in _POLARIZATIONS},
            units="linear power; STAC: gamma nought, Earth Engine: sigma nought",
            nodata=-32768,
            resampling="bilinear",
            positive_only=True,
            valid_range=(0, 100),
            gee=_S1_GEE,
        ),
        Collection(
            id="COPERNICUS/S1_GRD",
            stac_collections=(),
            bands=_gee_only(*_POLARIZATIONS),
            units="decibels, sigma nought",
            resampling="bilinear",
            valid_range=(-60, 40),
            gee=_S1_GEE,
        ),
        _hls(
            "NASA/HLS/HLSS30/v002",
            "hls2-s30",
            tuple(f"B{name}" for name in (*range(1, 9), "8A", *range(9, 13))),
        ),
        _hls(
            "NASA/HLS/HLSL30/v002",
            "hls2-l30",
            tuple(f"B{name}" for name in (*range(1, 8), *range(9, 12))),
        ),
        _landsat("LANDSAT/LC08/C02/T1_L2", "landsat-8"),
        _landsat("LANDSAT/LC09/C02/T1_L2", "landsat-9"),
        Collection(
            id="MODIS/061/MOD09GA",
            stac_collections=(),
            bands=_gee_only(*_MODIS_REFLECTANCE),
            units="digital numbers, surface reflectance x 10000",
            scaling=dict.fromkeys(_MODIS_REFLECTANCE, (1e-4, 0.0)),
            gee=EarthEngineMetadata(integer_range=(-100, 16_000)),
        ),
        _modis_8_day("MODIS/061/MOD09A1", "terra"),
        _modis_8_day("MODIS/061/MYD09A1", "aqua"),
        Collection(
            id="USDA/NAIP/DOQQ",
            stac_collections=("naip",),
            bands={name: (f"image.{number}",) for number, name in enumerate("RGBN", start=1)},
            units="8-bit brightness",
            gee=EarthEngineMetadata(integer_range=(0, 255)),
        ),
        Collection(
            id="Germany/Brandenburg/orthos/20cm",
            stac_collections=(),
            bands=_gee_only(*"RGBN"),
            units="8-bit brightness",
            static=True,
            attribution=(
                "Aerial images: LGB, State government of Brandenburg, Data licence Germany - "
                "attribution - Version 2.0 (www.govdata.de/dl-de/by-2-0)."
            ),
            valid_range=(0, 255),
            gee=EarthEngineMetadata(acquisition_date=datetime(2021, 8, 23, tzinfo=UTC)),
        ),
        Collection(
            id="COPERNICUS/DEM/GLO30",
            stac_collections=("cop-dem-glo-30",),
            bands={"DEM": ("data",)},
            units="metres above the geoid",
            resampling="bilinear",
            static=True,
            valid_range=(-500, 9000),
        ),
        Collection(
            id="USGS/SRTMGL1_003",
            stac_collections=(),
            bands=_gee_only("elevation", "slope"),
            units="metres; slope: degrees",
            static=True,
            valid_range=(-500, 9000),
            gee=EarthEngineMetadata(
                acquisition_date=datetime(2000, 2, 11, tzinfo=UTC),
                derived_slope=("slope", "elevation"),
            ),
        ),
        Collection(
            id="GOOGLE/DYNAMICWORLD/V1",
            stac_collections=(),
            bands=_gee_only(
                *("water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub"),
                *("built", "bare", "snow_and_ice"),
            ),
            units="probabilities of land cover, 0 to 1",
            attribution=(
                "Land cover: the Dynamic World Project by Google in partnership with National "
                "Geographic Society and the World Resources Institute, CC BY 4.0."
            ),
            valid_range=(0, 1),
        ),
        Collection(
            id="ESA/WorldCereal/2021/MODELS/v100",
            stac_collections=(),
            bands=_gee_only(
                "temporarycrops", "maize", "wintercereals", "springcereals", "irrigation"
            ),
            units="percent, 0 or 100",
            static=True,
            unmask_value=0,
            attribution="Crops: ESA WorldCereal 10 m 2021 v100, CC BY 4.0.",
            valid_range=(0, 100),
            gee=EarthEngineMetadata(band_per_image=("product", "classification")),
        ),
        Collection(
            id="ECMWF/ERA5_LAND/MONTHLY_AGGR",
            stac_collections=(),
            bands=_gee_only("temperature_2m", "total_precipitation_sum"),
            units="kelvin; precipitation: metres per month",
            monthly=True,
            attribution="Contains modified Copernicus Climate Change Service information.",
            valid_range=(0, 350),
        ),
        Collection(
            id="IDAHO_EPSCOR/TERRACLIMATE",
            stac_collections=(),
            bands=_gee_only("def", "soil", "aet"),
            units="tenths of a millimetre",
            monthly=True,
            unmask_value=0,
            valid_range=(0, 10_000),
            scaling=dict.fromkeys(("def", "soil", "aet"), (0.1, 0.0)),
        ),
        Collection(
            id="NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG",
            stac_collections=(),
            bands=_gee_only("avg_rad"),
            units="nW / (cm2 sr)",
            monthly=True,
            unmask_value=0,
        ),
        Collection(
            id="projects/sat-io/open-datasets/ORNL/LANDSCAN_GLOBAL",
            stac_collections=(),
            bands=_gee_only("b1"),
            units="people per cell of 30 seconds of arc",
            yearly=True,
            unmask_value=0,
            attribution="Population: LandScan Global, Oak Ridge National Laboratory, CC BY 4.0.",
            valid_range=(0, 500_000),
        ),
        Collection(
            id="GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL",
            stac_collections=("satellite-embedding-v1-annual",),
            bands={f"A{axis:02d}": (f"data.{axis + 1}",) for axis in range(64)},
            units="components of unit vectors",
            nodata=-128,
            snap_m=10,
            stac_scale=1 / 127.5,
            stac_power=2,
            yearly=True,
            attribution=(
                "The AlphaEarth Foundations Satellite Embedding dataset is produced by Google and "
                "Google DeepMind."
            ),
            valid_range=(-1, 1),
        ),
    )
}


def get(collection_id: str) -> Collection:
    """A collection by its Earth Engine id.

    Raises:
        ModelError: There is no entry for it; the message lists the entries.
    """
    try:
        return COLLECTIONS[collection_id]
    except KeyError:
        raise ModelError(
            f"the collection {collection_id!r} is not known"
            f"{did_you_mean([collection_id], COLLECTIONS)}; accepted: "
            f"{', '.join(sorted(COLLECTIONS))}",
            field="sensor.collection",
        ) from None


def get_stac_collection(
    collection_id: str, source: str = "", available: frozenset[str] | None = None
) -> Collection:
    """A collection that a STAC catalog is read for, by its Earth Engine id.

    Args:
        collection_id: Earth Engine id.
        source: Name of the catalog.
        available: STAC ids of the collections that it has; None: that is not known.

    Raises:
        ModelError: There is no such entry, or the catalog does not have it; the message says
            which sources do.
    """
    collection = get(collection_id)
    if collection.stac_collections and (
        available is None or not available.isdisjoint(collection.stac_collections)
    ):
        return collection
    others = [
        f"the STAC catalog {preset.name!r}"
        for preset in PRESETS.values()
        if not preset.collections.isdisjoint(collection.stac_collections)
    ]
    place = (
        f"in the source {source!r}" if collection.stac_collections else "read from STAC catalogs"
    )
    raise ModelError(
        f"the collection {collection_id!r} is not {place}; Earth Engine has it (backend 'gee')"
        + "".join(f", and {other}" for other in others),
        field="sensor.collection",
    )


def harmonization_offset(
    item_properties: Mapping[str, Any], asset_fields: Mapping[str, Any], stac_collection: str
) -> int:
    """What to add to the digital numbers of a Sentinel-2 scene to harmonise them: 0 or -1000.

    Processing baseline 04.00 and later stores values 1000 higher. Whether a catalog has taken
    that out of its pixels is decided from what the item says, never from its date.

    Args:
        item_properties: Properties of the item.
        asset_fields: Fields of the band's asset.
        stac_collection: Collection id of the item.
    """
    if item_properties.get("earthsearch:boa_offset_applied") is True:
        return 0
    if stac_collection == "sentinel-2-c1-l2a":
        return -1000
    bands = asset_fields.get("raster:bands") or asset_fields.get("bands") or [{}]
    stated = finite_float(bands[0].get("offset", bands[0].get("raster:offset")))
    if stated is not None:
        scale = finite_float(bands[0].get("scale", bands[0].get("raster:scale"))) or 1e-4
        return -1000 if round(stated / scale) == -1000 else 0
    return -1000 if has_baseline_offset(item_properties.get("s2:processing_baseline")) else 0


def has_baseline_offset(baseline: Any) -> bool:
    """Whether Sentinel-2 scenes of a processing baseline are made with values 1000 higher."""
    return (finite_float(baseline) or 0.0) >= 4


def finite_float(value: Any) -> float | None:
    """A number that an item states; None where it is absent or not a finite number."""
    try:
        stated = float(value)
    except (TypeError, ValueError):
        return None
    return stated if math.isfinite(stated) else None
