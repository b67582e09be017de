"""The offset of Sentinel-2 digital numbers since processing baseline 04.00. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagery.scenes import finite_float


def harmonization_offset(
    item_properties: Mapping[str, Any], asset_fields: Mapping[str, Any], stac_collection: str
) -> int:
    """The offset that harmonizes the digital numbers of a Sentinel-2 scene: 0 or -1000.

    Processing baseline 04.00 and later adds 1000. Some catalogs subtract it again. The item's
    metadata decides, never its date.

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
    offset = finite_float(bands[0].get("offset", bands[0].get("raster:offset")))
    if offset is not None:
        scale = finite_float(bands[0].get("scale", bands[0].get("raster:scale"))) or 1e-4
        return -1000 if round(offset / scale) == -1000 else 0
    return -1000 if has_baseline_offset(item_properties.get("s2:processing_baseline")) else 0


def has_baseline_offset(baseline: Any) -> bool:
    """Whether a Sentinel-2 processing baseline adds 1000 to digital numbers."""
    return (finite_float(baseline) or 0.0) >= 4
