"""Sentinel-1: radar backscatter."""

from __future__ import annotations

from imagery.collections.schema import Collection, EarthEngineMetadata, earth_engine_only

EARTH_ENGINE = EarthEngineMetadata(
    platform_property="platform_number",
    radar=True,
    notice=(
        "radar backscatter is sigma nought of ground range products, not the terrain-corrected "
        "gamma nought that STAC catalogs hold"
    ),
)
POLARIZATIONS = ("VV", "VH", "HH", "HV")

SENTINEL_1 = (
    Collection(
        id="COPERNICUS/S1_GRD_FLOAT",
        stac_collections=("sentinel-1-rtc",),
        bands={name: (name.lower(), name) for name in POLARIZATIONS},
        units="linear power; STAC: gamma nought, Earth Engine: sigma nought",
        nodata=-32768,
        resampling="bilinear",
        positive_only=True,
        valid_range=(0, 100),
        gee=EARTH_ENGINE,
    ),
    Collection(
        id="COPERNICUS/S1_GRD",
        stac_collections=(),
        bands=earth_engine_only(*POLARIZATIONS),
        units="decibels, sigma nought",
        resampling="bilinear",
        valid_range=(-60, 40),
        gee=EARTH_ENGINE,
    ),
)
