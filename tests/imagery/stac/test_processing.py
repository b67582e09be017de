"""Baseline, generation time and offset of items, in the spellings of catalogs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pystac
import pytest

from imagery.stac import planner
from imagery.stac.processing import processing_baseline, stated_offset

BASELINE_5 = {"s2:processing_baseline": "05.00"}
VERSION_5 = {"processing:version": "05.11"}


@pytest.mark.parametrize(
    ("properties", "asset", "stac", "offset"),
    [
        ({"earthsearch:boa_offset_applied": True}, {}, "sentinel-2-l2a", 0),
        (
            {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"},
            {"raster:bands": [{"offset": -0.1, "scale": 0.0001}]},
            "sentinel-2-l2a",
            0,
        ),
        ({"s2:processing_baseline": "05.00"}, {}, "sentinel-2-c1-l2a", -1000),
        ({"s2:processing_baseline": "04.00"}, {}, "sentinel-2-l2a", -1000),
        ({"s2:processing_baseline": "03.01"}, {}, "sentinel-2-l2a", 0),
        (
            {"earthsearch:boa_offset_applied": False},
            {"raster:bands": [{"offset": -0.1, "scale": 0.0001}]},
            "sentinel-2-l2a",
            -1000,
        ),
        ({}, {"raster:bands": [{"offset": 0.0, "scale": 0.0001}]}, "sentinel-2-l2a", 0),
        ({"datetime": "2024-01-01T00:00:00Z"}, {}, "sentinel-2-l2a", 0),
        ({"s2:processing_baseline": "unknown"}, {}, "sentinel-2-l2a", 0),
        ({"s2:processing_baseline": "nan"}, {}, "sentinel-2-l2a", 0),
        ({"earthsearch:boa_offset_applied": False, **BASELINE_5}, {}, "sentinel-2-l2a", -1000),
        (BASELINE_5, {"raster:bands": [{"offset": "none"}]}, "sentinel-2-l2a", -1000),
        ({}, {"raster:bands": [{"offset": -0.2, "scale": 2.75e-5}]}, "sentinel-2-l2a", 0),
        ({}, {"bands": [{"raster:offset": -0.1, "raster:scale": 1e-4}]}, "sentinel-2-l2a", -1000),
        # The offset has three homes: the band, the band of STAC 1.1, the asset.
        (VERSION_5, {"raster:scale": 1e-4, "raster:offset": -0.1}, "sentinel-2-l2a", -1000),
        (
            VERSION_5,
            {"bands": [{"name": "B04"}], "raster:scale": 1e-4, "raster:offset": -0.1},
            "sentinel-2-l2a",
            -1000,
        ),
        (
            VERSION_5,
            {"bands": [{"raster:offset": 0}], "raster:scale": 1e-4, "raster:offset": -0.1},
            "sentinel-2-l2a",
            0,
        ),
        (VERSION_5, {"raster:offset": 0, "raster:scale": 1e-4}, "sentinel-2-l2a", 0),
        (VERSION_5, {"raster:offset": 0}, "sentinel-2-c1-l2a", 0),
        # A scale that is not stated is 1.
        (BASELINE_5, {"raster:bands": [{"nodata": 0, "offset": -1000}]}, "sentinel-2-l2a", -1000),
        ({}, {"raster:bands": [{"nodata": 0, "offset": -1000}]}, "sentinel-2-l2a", -1000),
        # The baseline has several spellings.
        (VERSION_5, {}, "sentinel-2-l2a", -1000),
        ({"processing:version": "03.01"}, {}, "sentinel-2-l2a", 0),
        (
            {"s2:product_uri": "S2A_MSIL2A_20230611T081601_N0509_R121_T36MXA_20230611T1.SAFE"},
            {},
            "sentinel-2-l2a",
            -1000,
        ),
        # What cannot be an offset of digital numbers is not used.
        (BASELINE_5, {"raster:bands": [{"offset": -0.1}]}, "sentinel-2-l2a", -1000),
    ],
)
def test_the_offset_follows_the_metadata(
    properties: dict[str, Any], asset: dict[str, Any], stac: str, offset: int
) -> None:
    """Whether a scene stores values 1000 too high is never guessed from its date."""
    item = pystac.Item("x", None, None, datetime(2023, 6, 1, tzinfo=UTC), dict(properties))
    item.collection_id = stac
    item.add_asset("red", pystac.Asset("red.tif", extra_fields=asset))
    assert planner._offset(item, "red") == offset


@pytest.mark.parametrize(
    ("properties", "item_id", "baseline"),
    [
        ({"s2:processing_baseline": "05.09"}, "x", "05.09"),
        ({"processing:version": "05.11"}, "x", "05.11"),
        ({"s2:processing_baseline": "unknown", "processing:version": "4.0"}, "x", "4.0"),
        ({}, "S2B_MSIL2A_20230611T081609_N0509_R121_T36MXA_20230611T120000", "05.09"),
        ({"processing:version": "sen2cor 2.11"}, "S2B_36MXA_20230611_0_L2A", None),
        ({}, "LC08_L2SP_170062_20230611", None),
    ],
)
def test_baselines(properties: dict[str, Any], item_id: str, baseline: str | None) -> None:
    """A property, or a part of the product's name."""
    item = pystac.Item(item_id, None, None, datetime(2023, 6, 1, tzinfo=UTC), properties)
    assert processing_baseline(item) == baseline


def test_offsets_of_a_file_with_several_bands() -> None:
    """Each band has its own."""
    bands = [{"offset": -1000}, {"raster:offset": -0.1, "raster:scale": 1e-4}, {}, "none"]
    fields = {"raster:bands": bands, "raster:offset": 5}
    assert [stated_offset(fields, band) for band in range(5)] == [-1000, -1000, 5, 5, 5]
    assert stated_offset({}) is None
