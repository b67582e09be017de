"""Sentinel-2: surface and top-of-atmosphere reflectance."""

from __future__ import annotations

from collections.abc import Mapping

from imagery.collections.schema import CloudScore, Collection, EarthEngineMetadata, QualityMask

MASKED_CLASSES = (0, 1, 3, 8, 9, 10)
"""Scene classes to mask: no data, defective, cloud shadow, medium and high cloud probability,
cirrus."""


def _asset_keys(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Asset keys of each band: common names (Earth Search), then zero-padded names (Planetary
    Computer).
    """
    return {band: (common, f"B{band[1:].zfill(2)}") for band, common in names.items()}


L2A_BANDS = {
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
"""Common name of each band in STAC catalogs."""

CLOUD_SCORE_PLUS = CloudScore("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "cs_cdf", 0.6)

EARTH_ENGINE = EarthEngineMetadata(
    cloud_property="CLOUDY_PIXEL_PERCENTAGE",
    platform_property="SPACECRAFT_NAME",
    tile_property="MGRS_TILE",
    processing_properties=("PROCESSING_BASELINE", "GENERATION_TIME"),
    cloud_score=CLOUD_SCORE_PLUS,
    integer_range=(0, 30_000),
)

SENTINEL_2 = (
    Collection(
        id="COPERNICUS/S2_SR_HARMONIZED",
        stac_collections=("sentinel-2-l2a", "sentinel-2-c1-l2a"),
        bands=_asset_keys(L2A_BANDS),
        units="digital numbers, surface reflectance x 10000",
        nodata=0,
        snap_m=10,
        cloud_property="eo:cloud_cover",
        mask=QualityMask("SCL", classes=MASKED_CLASSES),
        mask_assets=("scl", "SCL"),
        harmonized=True,
        valid_range=(-1000, 20_000),
        scaling=dict.fromkeys(L2A_BANDS, (1e-4, 0.0)),
        gee=EARTH_ENGINE,
    ),
    Collection(
        id="COPERNICUS/S2_HARMONIZED",
        stac_collections=("sentinel-2-l1c",),
        bands=_asset_keys({**L2A_BANDS, "B10": "cirrus"}),
        units="digital numbers, top-of-atmosphere reflectance x 10000",
        nodata=0,
        snap_m=10,
        cloud_property="eo:cloud_cover",
        harmonized=True,
        valid_range=(-1000, 20_000),
        scaling=dict.fromkeys((*L2A_BANDS, "B10"), (1e-4, 0.0)),
        gee=EARTH_ENGINE,
    ),
)
