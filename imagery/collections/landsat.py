"""Landsat 8 and 9: surface reflectance and temperature, Collection 2 Level 2."""

from __future__ import annotations

from imagery.collections.schema import Collection, EarthEngineMetadata, QualityMask

MASK = QualityMask("QA_PIXEL", bits=(0, 1, 2, 3, 4))
REFLECTANCE_BANDS = {
    f"SR_B{number}": (name,)
    for number, name in enumerate(
        ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22"), start=1
    )
}


def _landsat(collection_id: str, platform: str) -> Collection:
    """Pixel corners lie at odd multiples of 15 m, so grids are not snapped."""
    return Collection(
        id=collection_id,
        stac_collections=("landsat-c2-l2",),
        bands={**REFLECTANCE_BANDS, "ST_B10": ("lwir11",)},
        units="digital numbers of surface reflectance; ST_B10: of surface temperature, kelvin",
        scaling={
            **dict.fromkeys(REFLECTANCE_BANDS, (2.75e-5, -0.2)),
            "ST_B10": (0.00341802, 149.0),
        },
        nodata=0,
        cloud_property="eo:cloud_cover",
        mask=MASK,
        mask_assets=("qa_pixel",),
        stac_properties={"platform": platform, "landsat:collection_category": "T1"},
        gee=EarthEngineMetadata(cloud_property="CLOUD_COVER", integer_range=(1, 65_533)),
    )


LANDSAT = (
    _landsat("LANDSAT/LC08/C02/T1_L2", "landsat-8"),
    _landsat("LANDSAT/LC09/C02/T1_L2", "landsat-9"),
)
