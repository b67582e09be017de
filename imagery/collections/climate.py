"""Monthly climate."""

from __future__ import annotations

from imagery.collections.schema import Collection, earth_engine_only

CLIMATE = (
    Collection(
        id="ECMWF/ERA5_LAND/MONTHLY_AGGR",
        stac_collections=(),
        bands=earth_engine_only("temperature_2m", "total_precipitation_sum"),
        units="kelvin; precipitation: metres per month",
        monthly=True,
        attribution="Contains modified Copernicus Climate Change Service information.",
        valid_range=(0, 350),
    ),
    Collection(
        id="IDAHO_EPSCOR/TERRACLIMATE",
        stac_collections=(),
        bands=earth_engine_only("def", "soil", "aet"),
        units="tenths of a millimetre",
        monthly=True,
        unmask_value=0,
        valid_range=(0, 10_000),
        scaling=dict.fromkeys(("def", "soil", "aet"), (0.1, 0.0)),
    ),
)
