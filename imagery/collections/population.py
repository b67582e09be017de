"""Night lights and population."""

from __future__ import annotations

from imagery.collections.schema import Collection, earth_engine_only

POPULATION = (
    Collection(
        id="NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG",
        stac_collections=(),
        bands=earth_engine_only("avg_rad"),
        units="nW / (cm2 sr)",
        monthly=True,
        unmask_value=0,
    ),
    Collection(
        id="projects/sat-io/open-datasets/ORNL/LANDSCAN_GLOBAL",
        stac_collections=(),
        bands=earth_engine_only("b1"),
        units="people per cell of 30 seconds of arc",
        yearly=True,
        unmask_value=0,
        attribution="Population: LandScan Global, Oak Ridge National Laboratory, CC BY 4.0.",
        valid_range=(0, 500_000),
    ),
)
