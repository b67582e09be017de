"""The collections that requests may name, and what catalogs call their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from geobento.errors import ModelError

Resampling = Literal["nearest", "bilinear"]


@dataclass(frozen=True)
class Collection:
    """One collection under its Earth Engine id.

    Attributes:
        id: Earth Engine id, the name in requests.
        stac: Collection ids in STAC catalogs, preferred first.
        bands: Keys under which STAC catalogs hold each band, tried in order, by the name that
            requests use.
        units: Units of the raw values.
        nodata: Value that means no data where a file does not state one; None: NaN.
        resampling: How bands are brought to another lattice.
        lattice_m: Pixel corners lie at multiples of this in UTM; None: no common lattice.
        cloud_property: Item property with the cloud percentage of a scene, if it has one.
        mask_assets: Keys under which catalogs hold the scene classification, tried in order.
        static: The same at all times; the time window does not apply.
        harmonised: Digital numbers are brought to the scale without the offset of later
            processing baselines.
        positive: Only values above 0 are data (power; scenes have borders of 0).
        usual: Between these lie the values of ordinary scenes; None: nothing is known.
    """

    id: str
    stac: tuple[str, ...]
    bands: Mapping[str, tuple[str, ...]]
    units: str
    nodata: float | None = None
    resampling: Resampling = "nearest"
    lattice_m: float | None = None
    cloud_property: str | None = None
    mask_assets: tuple[str, ...] = ()
    static: bool = False
    harmonised: bool = False
    positive: bool = False
    usual: tuple[float, float] | None = None


def _sentinel_2(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Earth Search has common names, Planetary Computer zero-padded ones."""
    return {band: (common, f"B{band[1:].zfill(2)}") for band, common in names.items()}


_S2_L2A = {
    "B1": "coastal",
    "B2": "blue",
    "B3": "green",
    "B4": "red",
    "B5": "rededge1",
    "B6": "rededge2",
    "B7": "rededge3",
    "B8": "nir",
    "B8A": "nir08",
    "B9": "nir09",
    "B11": "swir16",
    "B12": "swir22",
}

COLLECTIONS = {
    collection.id: collection
    for collection in (
        Collection(
            id="COPERNICUS/S2_SR_HARMONIZED",
            stac=("sentinel-2-l2a", "sentinel-2-c1-l2a"),
            bands=_sentinel_2(_S2_L2A),
            units="digital numbers, surface reflectance x 10000",
            nodata=0,
            lattice_m=10,
            cloud_property="eo:cloud_cover",
            mask_assets=("scl", "SCL"),
            harmonised=True,
            usual=(-1000, 20_000),
        ),
        Collection(
            id="COPERNICUS/S2_HARMONIZED",
            stac=("sentinel-2-l1c",),
            bands=_sentinel_2({**_S2_L2A, "B10": "cirrus"}),
            units="digital numbers, top-of-atmosphere reflectance x 10000",
            nodata=0,
            lattice_m=10,
            cloud_property="eo:cloud_cover",
            harmonised=True,
            usual=(-1000, 20_000),
        ),
        Collection(
            id="COPERNICUS/S1_GRD_FLOAT",
            stac=("sentinel-1-rtc",),
            bands={name: (name.lower(), name) for name in ("VV", "VH", "HH", "HV")},
            units="linear power, gamma nought",
            nodata=-32768,
            resampling="bilinear",
            positive=True,
            usual=(0, 100),
        ),
        Collection(
            id="COPERNICUS/DEM/GLO30",
            stac=("cop-dem-glo-30",),
            bands={"DEM": ("data",)},
            units="metres above the geoid",
            resampling="bilinear",
            static=True,
            usual=(-500, 9000),
        ),
    )
}


def get(collection_id: str) -> Collection:
    """A collection by its Earth Engine id.

    Raises:
        ModelError: There is no entry for it; the message lists the entries.
    """
    try:
        return COLLECTIONS[collection_id]
    except KeyError:
        raise ModelError(
            f"the collection {collection_id!r} is not known; accepted: "
            f"{', '.join(sorted(COLLECTIONS))}",
            field="sensor.collection",
        ) from None


def offset(item: Mapping[str, Any], asset: Mapping[str, Any], stac_collection: str) -> int:
    """What to add to the digital numbers of a Sentinel-2 scene to harmonise them: 0 or -1000.

    Processing baseline 04.00 and later stores values 1000 higher. Whether a catalog has taken
    that out of its pixels is decided from what the item says, never from its date.

    Args:
        item: Properties of the item.
        asset: Fields of the band's asset.
        stac_collection: Collection id of the item.
    """
    if item.get("earthsearch:boa_offset_applied") is True:
        return 0
    if stac_collection == "sentinel-2-c1-l2a":
        return -1000
    bands = asset.get("raster:bands") or asset.get("bands") or [{}]
    stated = number(bands[0].get("offset", bands[0].get("raster:offset")))
    if stated is not None:
        scale = number(bands[0].get("scale", bands[0].get("raster:scale"))) or 1e-4
        return -1000 if round(stated / scale) == -1000 else 0
    return -1000 if (number(item.get("s2:processing_baseline")) or 0.0) >= 4 else 0


def number(value: Any) -> float | None:
    """A number that an item states; None where it is absent or not a finite number."""
    try:
        stated = float(value)
    except (TypeError, ValueError):
        return None
    return stated if math.isfinite(stated) else None
