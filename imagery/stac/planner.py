"""Planning the reads of a STAC source: items, assets and offsets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pystac

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Scene
from geobento.suggestions import did_you_mean
from imagery.collections import registry
from imagery.collections.harmonization import harmonization_offset
from imagery.collections.schema import Collection
from imagery.grid import lonlat_bounds
from imagery.query import ImageQuery
from imagery.scenes import finite_float, group_passes
from imagery.stac.catalogs.base import Search, item_time, tile_key
from imagery.stac.catalogs.presets import PRESETS
from imagery.stac.processing import processing_baseline, stated_offset

CRS_FIELDS = ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson")
"""Fields of the projection extension that can name the CRS."""


@dataclass(frozen=True)
class SceneRead:
    """The reads of one item.

    Attributes:
        item: The item.
        assets: Asset key of every band, in the order of the query.
        offsets: Offset to add to the valid values of every band.
        mask: Asset key of the quality band; None if the item has none.
    """

    item: pystac.Item
    assets: tuple[str, ...]
    offsets: tuple[int, ...]
    mask: str | None


def get_stac_collection(
    collection_id: str, source: str = "", available: frozenset[str] | None = None
) -> Collection:
    """A collection that a STAC catalog can serve.

    Args:
        collection_id: Earth Engine id.
        source: Name of the catalog.
        available: STAC ids of the catalog's collections; None if unknown.

    Raises:
        ModelError: The id is unknown, or the catalog lacks the collection; the message names
            the sources that have it.
    """
    collection = registry.get(collection_id)
    if collection.stac_collections and (
        available is None or not available.isdisjoint(collection.stac_collections)
    ):
        return collection
    others = [
        f"the STAC catalog {preset.name!r}"
        for preset in PRESETS.values()
        if not preset.collections.isdisjoint(collection.stac_collections)
    ]
    where = (
        f"in the source {source!r}" if collection.stac_collections else "read from STAC catalogs"
    )
    raise ModelError(
        f"the collection {collection_id!r} is not {where}; Earth Engine has it (backend 'gee')"
        + "".join(f", and {other}" for other in others),
        field="sensor.collection",
    )


def build_search(query: ImageQuery, collection: Collection) -> Search:
    """The catalog search of a query."""
    static = collection.static
    return Search(
        collections=collection.stac_collections,
        bounds=lonlat_bounds(query.grid),
        start=None if static else query.start,
        end=None if static else query.end,
        cloud_property=collection.cloud_property,
        max_cloud_pct=query.sensor.cloudy_pct if collection.cloud_property else None,
        properties=collection.stac_properties,
    )


def plan_reads(
    items: Sequence[pystac.Item], bands: Sequence[str], collection: Collection
) -> list[SceneRead]:
    """Plan the assets to read and the offsets to add.

    Scenes that lack a band are left out (radar scenes differ in polarization). Where a catalog has
    an acquisition in several of the STAC collections, the preferred one is used.

    Raises:
        ModelError: No scene has all bands.
    """
    plan = []
    for item in _preferred_items(_items_with_bands(items, bands, collection), collection):
        assets = tuple(_available_keys(item, collection.bands[band])[0] for band in bands)
        offsets = tuple(_offset(item, key) if collection.harmonized else 0 for key in assets)
        _declare_bands(item, assets)
        _drop_grids_without_crs(item)
        mask = next(iter(_available_keys(item, collection.mask_assets)), None)
        plan.append(SceneRead(item, assets, offsets, mask))
    return plan


def item_passes(items: Sequence[pystac.Item]) -> list[list[int]]:
    """Positions of the items of each satellite pass."""
    return group_passes([(item.properties.get("platform"), item_time(item)) for item in items])


def radar_mode_and_direction(scene: SceneRead) -> tuple[Any, str]:
    """Mode and pass direction of a radar scene."""
    properties = scene.item.properties
    return properties.get("sar:instrument_mode"), str(properties.get("sat:orbit_state")).upper()


def count_files(scene: SceneRead) -> int:
    """The number of files to read."""
    return len({key.partition(".")[0] for key in scene.assets}) + (scene.mask is not None)


def to_scene(scene: SceneRead, collection: Collection) -> Scene:
    """The scene as responses report it."""
    item = scene.item
    cloud = item.properties.get(collection.cloud_property) if collection.cloud_property else None
    harmonized = any(scene.offsets) or (collection.harmonized and _is_offset_applied(item))
    return Scene(
        item.id,
        item_time(item),
        finite_float(cloud),
        harmonized,
        processing_baseline(item),
    )


def _offset(item: pystac.Item, key: str) -> int:
    """The offset to add to the values of a band, by its asset key."""
    name, _, number = key.partition(".")
    return harmonization_offset(
        is_applied=_is_offset_applied(item),
        stated=stated_offset(item.assets[name].to_dict(), int(number or 1) - 1),
        baseline=processing_baseline(item),
        is_collection_1=item.collection_id == "sentinel-2-c1-l2a",
    )


def _is_offset_applied(item: pystac.Item) -> bool:
    return item.properties.get("earthsearch:boa_offset_applied") is True


def _available_keys(item: pystac.Item, keys: Sequence[str]) -> list[str]:
    """The asset keys that an item has, in the same order."""
    return [key for key in keys if key.split(".")[0] in item.assets]


def _declare_bands(item: pystac.Item, keys: Sequence[str]) -> None:
    """Declare the number of bands of each file, which odc-stac needs and catalogs may omit."""
    for key in keys:
        name, _, number = key.partition(".")
        fields = item.assets[name].extra_fields
        if number and len(fields.get("raster:bands", ())) < int(number):
            bands = fields.get("eo:bands", fields.get("bands", ()))
            fields["raster:bands"] = [{} for _ in range(max(len(bands), int(number)))]


def _drop_grids_without_crs(item: pystac.Item) -> None:
    """Remove shapes and transforms that have no CRS, so that odc-stac reads all from the file."""
    if _states_crs(item.properties):
        return
    _drop_grid(item.properties)
    for asset in item.assets.values():
        if not _states_crs(asset.extra_fields):
            _drop_grid(asset.extra_fields)


def _states_crs(fields: Mapping[str, Any]) -> bool:
    return any(fields.get(name) is not None for name in CRS_FIELDS)


def _drop_grid(fields: dict[str, Any]) -> None:
    for name in ("proj:shape", "proj:transform", *CRS_FIELDS):
        fields.pop(name, None)


def _items_with_bands(
    items: Sequence[pystac.Item], bands: Sequence[str], collection: Collection
) -> list[pystac.Item]:
    """The items that have all bands.

    Raises:
        ModelError: No item has all bands.
    """
    complete = [
        item
        for item in items
        if all(_available_keys(item, collection.bands.get(band, ())) for band in bands)
    ]
    if complete:
        return complete
    offered = [
        band
        for band, keys in collection.bands.items()
        if any(_available_keys(item, keys) for item in items)
    ]
    absent = [band for band in bands if band not in offered]
    lacks = f"no band {absent[0]!r}" if absent else f"no scene with all of {', '.join(bands)}"
    raise ModelError(
        f"{collection.id} has {lacks} in this source{did_you_mean(absent, offered)}; accepted: "
        f"{', '.join(offered)}",
        field="sensor.bands",
    )


def _preferred_items(items: Sequence[pystac.Item], collection: Collection) -> list[pystac.Item]:
    """The items of the most preferred STAC collection, for each tile of each pass."""
    selected: list[int] = []
    for positions in item_passes(items):
        best: dict[Any, int] = {}
        ranks = {
            p: collection.stac_collections.index(items[p].collection_id or "") for p in positions
        }
        for position in positions:
            key = tile_key(items[position])
            best[key] = min(best.get(key, len(collection.stac_collections)), ranks[position])
        selected += [p for p in positions if ranks[p] == best[tile_key(items[p])]]
    return [items[position] for position in sorted(selected)]
