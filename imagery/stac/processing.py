"""What an item says of the processing of its pixels: baseline, generation time, offset. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pystac

from imagery.scenes import finite_float

BASELINE_PROPERTIES = ("s2:processing_baseline", "processing:version")
"""Properties with the Sentinel-2 processing baseline, such as `05.09`."""
PRODUCT_PROPERTIES = ("s2:product_uri", "s2:product_id", "title")
"""Properties with the name of the product, which contains the baseline."""
GENERATION_PROPERTIES = ("s2:generation_time", "processing:datetime", "updated", "created")

_BASELINE = re.compile(r"\d{1,2}\.\d{1,2}")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})(\d{2})_")


def processing_baseline(item: pystac.Item) -> str | None:
    """The Sentinel-2 processing baseline, such as ``05.09``; None: the item does not say it.

    It is a property, or a part of the product's name (``..._N0509_...``).
    """
    for name in BASELINE_PROPERTIES:
        value = str(item.properties.get(name, ""))
        if _BASELINE.fullmatch(value):
            return value
    for text in (*(item.properties.get(name) for name in PRODUCT_PROPERTIES), item.id):
        match = _BASELINE_IN_NAME.search(str(text))
        if match is not None:
            return f"{match[1]}.{match[2]}"
    return None


def processing_key(item: pystac.Item) -> tuple[float, str]:
    """Greatest for the latest processing: the baseline, then the time of generation."""
    generated = next(
        (item.properties[n] for n in GENERATION_PROPERTIES if n in item.properties), ""
    )
    return finite_float(processing_baseline(item)) or 0.0, str(generated)


def stated_offset(asset_fields: Mapping[str, Any], band: int = 0) -> float | None:
    """The offset of an asset's band in digital numbers; None: the asset does not state one.

    It stands in `raster:bands` (STAC 1.0), in `bands` (STAC 1.1) or beside them for the whole
    asset. The most specific place that has an offset decides, also where it says 0. A scale that is
    not stated is 1.

    Args:
        asset_fields: Fields of the asset.
        band: Position of the band in the asset, from 0.
    """
    places = [
        *(_entry(asset_fields.get(name), band) for name in ("raster:bands", "bands")),
        asset_fields,
    ]
    offset = _first_number(places, "offset")
    if offset is None:
        return None
    scale = _first_number(places, "scale")
    return offset / (scale or 1.0)


def _entry(bands: Any, position: int) -> Mapping[str, Any]:
    if not isinstance(bands, Sequence) or not 0 <= position < len(bands):
        return {}
    entry = bands[position]
    return entry if isinstance(entry, Mapping) else {}


def _first_number(places: Sequence[Mapping[str, Any]], name: str) -> float | None:
    numbers = (
        finite_float(fields.get(key)) for fields in places for key in (f"raster:{name}", name)
    )
    return next((number for number in numbers if number is not None), None)
