"""MODIS: daily and 8-day surface reflectance."""

from __future__ import annotations

from imagery.collections.schema import (
    Collection,
    EarthEngineMetadata,
    QualityMask,
    earth_engine_only,
)

STATE_MASK = QualityMask("StateQA", bits=(0, 1, 2, 9, 10))
"""Cloudy or mixed (3 means not set, assumed clear), cloud shadow, average or high cirrus, and the
internal cloud algorithm."""
REFLECTANCE_BANDS = tuple(f"sur_refl_b0{number}" for number in range(1, 8))


def _modis_8_day(collection_id: str, platform: str) -> Collection:
    """8-day composites on a sinusoidal lattice, dated by their first day."""
    return Collection(
        id=collection_id,
        stac_collections=("modis-09A1-061",),
        bands={band: (band,) for band in REFLECTANCE_BANDS},
        units="digital numbers, surface reflectance x 10000",
        scaling=dict.fromkeys(REFLECTANCE_BANDS, (1e-4, 0.0)),
        nodata=-28672,
        mask=STATE_MASK,
        mask_assets=("sur_refl_state_500m",),
        stac_properties={"platform": platform},
        valid_range=(-100, 16_000),
        gee=EarthEngineMetadata(integer_range=(-100, 16_000)),
    )


MODIS = (
    Collection(
        id="MODIS/061/MOD09GA",
        stac_collections=(),
        bands=earth_engine_only(*REFLECTANCE_BANDS),
        units="digital numbers, surface reflectance x 10000",
        scaling=dict.fromkeys(REFLECTANCE_BANDS, (1e-4, 0.0)),
        gee=EarthEngineMetadata(integer_range=(-100, 16_000)),
    ),
    _modis_8_day("MODIS/061/MOD09A1", "terra"),
    _modis_8_day("MODIS/061/MYD09A1", "aqua"),
)
