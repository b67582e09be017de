"""Land cover and crop types."""

from __future__ import annotations

from imagery.collections.schema import Collection, EarthEngineMetadata, earth_engine_only

LAND_COVER = (
    Collection(
        id="GOOGLE/DYNAMICWORLD/V1",
        stac_collections=(),
        bands=earth_engine_only(
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
        bands=earth_engine_only(
            "temporarycrops", "maize", "wintercereals", "springcereals", "irrigation"
        ),
        units="percent, 0 or 100",
        static=True,
        unmask_value=0,
        attribution="Crops: ESA WorldCereal 10 m 2021 v100, CC BY 4.0.",
        valid_range=(0, 100),
        gee=EarthEngineMetadata(band_per_image=("product", "classification")),
    ),
)
