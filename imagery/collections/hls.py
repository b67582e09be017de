"""Harmonized Landsat and Sentinel-2 (HLS)."""

from __future__ import annotations

from imagery.collections.schema import Collection, EarthEngineMetadata, QualityMask

MASK = QualityMask("Fmask", bits=(1, 2, 3))


def _hls(collection_id: str, stac: str, bands: tuple[str, ...]) -> Collection:
    """STAC catalogs store integers, Earth Engine stores reflectance."""
    return Collection(
        id=collection_id,
        stac_collections=(stac,),
        bands={band: (f"B{band[1:].zfill(2)}",) for band in bands},
        units="surface reflectance",
        nodata=-9999,
        snap_m=30,
        cloud_property="eo:cloud_cover",
        mask=MASK,
        mask_assets=("Fmask",),
        stac_scale=1e-4,
        gee=EarthEngineMetadata(cloud_property="CLOUD_COVERAGE"),
    )


HLS = (
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
)
