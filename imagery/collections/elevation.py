"""Elevation models."""

from __future__ import annotations

from datetime import UTC, datetime

from imagery.collections.schema import Collection, EarthEngineMetadata, earth_engine_only

ELEVATION = (
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
        bands=earth_engine_only("elevation", "slope"),
        units="metres; slope: degrees",
        static=True,
        valid_range=(-500, 9000),
        gee=EarthEngineMetadata(
            acquisition_date=datetime(2000, 2, 11, tzinfo=UTC),
            derived_slope=("slope", "elevation"),
        ),
    ),
)
