"""Imagery from a STAC catalog: search, plan, read, composite."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray

from geobento.errors import (
    GeoBentoError,
    ModelError,
    NoImageryError,
    SourceError,
    SourceUnavailable,
)
from geobento.near import hint
from geobento.sample import PixelGrid, Provenance, Sample, Scene
from imagery import collections, frames, geotiff
from imagery.catalog import Catalog, Search, item_time, tile
from imagery.collections import Collection, Resampling
from imagery.composite import clear, composite, fuse
from imagery.frames import Frame
from imagery.grid import lonlat_bounds
from imagery.scenes import passes, radar_looks, too_cloudy
from imagery.source import ImageQuery, Survey

FLOAT_BYTES = 4
"""Size of a value as it is held once it is read."""


@dataclass(frozen=True)
class SceneRead:
    """What to read of one item.

    Attributes:
        item: The item.
        assets: Asset key of every band, in the order of the query.
        offsets: What to add to the values of every band that hold data.
        mask: Asset key of the scene classification; None: it has none.
    """

    item: pystac.Item
    assets: tuple[str, ...]
    offsets: tuple[int, ...]
    mask: str | None


class StacSource:
    """A source over a STAC catalog.

    Args:
        catalog: Where items are found.
        timeout_s: Longest time for one fetch.
        backend: Word of the public ``backend`` parameter.
        notice: What every answer has to say about this imagery.
        name: What answers call the source; the catalog's own id if None.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        timeout_s: float = 60.0,
        backend: str = "stac",
        notice: str | None = None,
        name: str | None = None,
    ) -> None:
        self._catalog = catalog
        self._timeout_s = timeout_s
        self._backend = backend
        self._notice = notice
        self._given_name = name

    @property
    def backend(self) -> str:
        """The word of the public ``backend`` parameter."""
        return self._backend

    def fetch(self, query: ImageQuery) -> Sample:
        """One composite, or one per frame, see `imagery.source.Source`."""
        deadline = time.monotonic() + self._timeout_s
        collection = self._collection(query)
        plan = self._plan(query, collection, deadline)
        groups = [[plan[at] for at in pass_] for pass_ in _passes([scene.item for scene in plan])]
        # Frame by frame, so that not all scenes are in memory at a time.
        parts = frames.split(groups, lambda scene: item_time(scene.item), query)
        found = [self._frame(number, scenes, query, deadline) for number, scenes in parts.items()]
        seen = [frame for frame in found if frame is not None]
        if not seen:
            raise self._nothing(query, search_for(query, collection), deadline)
        used = sorted(
            (scene for frame in seen for scene in frame.scenes), key=lambda scene: scene.time
        )
        return frames.sample(seen, query, self._provenance(used, collection))

    def _frame(
        self,
        number: int,
        groups: Sequence[Sequence[SceneRead]],
        query: ImageQuery,
        deadline: float,
    ) -> Frame | None:
        """The composite of some passes; None: they show nothing."""
        collection = self._collection(query)
        plan = sorted(
            (scene for group in groups for scene in group),
            key=lambda scene: (item_time(scene.item), scene.item.id),
        )
        stack, valid = read(plan, query.grid, collection, self._catalog, deadline)
        seen = np.asarray(valid.any(axis=(1, 2, 3)))
        if not seen.any():
            return None
        used = [scene for scene, shows in zip(plan, seen, strict=True) if shows]
        looks, has_data = fuse(stack[seen], valid[seen], _passes([scene.item for scene in used]))
        pixels, whole = composite(looks, has_data, query.sensor.composite, query.sensor.fill_value)
        return Frame(number, pixels, whole, tuple(_scene(scene, collection) for scene in used))

    def survey(self, query: ImageQuery) -> Survey:
        """The scenes of a fetch, see `imagery.source.Source`.

        A request is the reading of a file. Its bytes are those of the place's pixels as they are
        held once read; files hold less.
        """
        collection = self._collection(query)
        plan = self._plan(query, collection, time.monotonic() + self._timeout_s)
        reads = sum(len(scene.assets) + (scene.mask is not None) for scene in plan)
        height, width = query.grid.shape
        scenes = [_scene(scene, collection) for scene in plan]
        origin = self._provenance(scenes, collection)
        return Survey(origin, reads, reads * height * width * FLOAT_BYTES)

    def _collection(self, query: ImageQuery) -> Collection:
        collection = collections.get_in_stac(
            query.sensor.collection, self._name, self._catalog.collections
        )
        if query.sensor.cloud_mask == "cloud_score_plus":
            raise ModelError(
                f"the source {self._name!r} has no Cloud Score+; Earth Engine has it (backend "
                "'gee'). Accepted here: 'quality_band'",
                field="sensor.cloud_mask",
            )
        return collection

    def _plan(self, query: ImageQuery, collection: Collection, deadline: float) -> list[SceneRead]:
        """What to read for a query; at least one scene."""
        search = search_for(query, collection)
        found = self._catalog.search(search, deadline)
        if not found:
            raise self._nothing(query, search, deadline)
        plan = plan_reads(found, query.sensor.bands, collection)
        if collection.gee.radar:
            plan = radar_looks(plan, query.sensor, _look)
            if not plan:
                raise self._nothing(query, search, deadline)
        return plan

    def _provenance(self, scenes: Sequence[Scene], collection: Collection) -> Provenance:
        notice = self._notice or collection.attribution
        return Provenance(self._backend, self._name, tuple(scenes), notice)

    @property
    def _name(self) -> str:
        return self._catalog.name if self._given_name is None else self._given_name

    def _nothing(self, query: ImageQuery, search: Search, deadline: float) -> NoImageryError:
        """The error for an empty result, with what the catalog does hold at this place."""
        holdings = self._catalog.holdings(search, deadline)
        times = holdings.times
        nearest = min(
            times, key=lambda time: max(query.start - time, time - query.end), default=None
        )
        stated = [cloud for cloud in holdings.clouds if cloud is not None]
        window = f"{query.start.date()} to {query.end.date()}"
        limit = (
            f" with at most {search.max_cloud:g} % cloud" if search.max_cloud is not None else ""
        )
        if nearest is None:
            reason = "it has none of this place at any time" if holdings.complete else "it has none"
        elif holdings.complete:
            reason = (
                f"of this place it has {len(times)} scenes from {times[0].date()} to "
                f"{times[-1].date()}"
            )
        else:
            reason = f"of this place the nearest scene is of {nearest.date()}"
        if holdings.clouds:
            reason += f", in the window {len(holdings.clouds)}"
            reason += f" with {min(stated):g} % cloud or more" if stated else ""
        return NoImageryError(
            f"the source {self._name!r} has no usable pixel of "
            f"{query.sensor.collection} for {window}{limit}; {reason}",
            detail={
                "collection": query.sensor.collection,
                "source": self._name,
                "scenes_in_window": len(holdings.clouds),
                "too_cloudy": too_cloudy(stated, query.sensor),
                "least_cloud_pct": min(stated, default=None),
                "scenes_at_any_time": len(times) if holdings.complete else None,
                "first": times[0].isoformat() if times and holdings.complete else None,
                "last": times[-1].isoformat() if times and holdings.complete else None,
                "nearest": nearest.isoformat() if nearest else None,
            },
        )


def _look(scene: SceneRead) -> tuple[Any, str]:
    """Mode and pass direction of a radar scene."""
    properties = scene.item.properties
    return properties.get("sar:instrument_mode"), str(properties.get("sat:orbit_state")).upper()


def search_for(query: ImageQuery, collection: Collection) -> Search:
    """What to look for in a catalog. Pure."""
    static = collection.static
    return Search(
        collections=collection.stac,
        bounds=lonlat_bounds(query.grid),
        start=None if static else query.start,
        end=None if static else query.end,
        cloud_property=collection.cloud_property,
        max_cloud=query.sensor.cloudy_pct if collection.cloud_property else None,
        properties=collection.stac_properties,
    )


def plan_reads(
    items: Sequence[pystac.Item], bands: Sequence[str], collection: Collection
) -> list[SceneRead]:
    """Which assets to read and what to add to their values. Pure.

    Scenes that lack a band are left out (radar scenes differ in polarisation). Where a catalog
    has an acquisition in several of the collection's forms, the preferred one is taken.

    Raises:
        ModelError: No scene has all bands.
    """
    plan = []
    for item in _preferred(_complete(items, bands, collection), collection):
        assets = tuple(_held(item, collection.bands[band])[0] for band in bands)
        offsets = tuple(
            collections.offset(
                item.properties, item.assets[key.split(".")[0]].to_dict(), item.collection_id or ""
            )
            if collection.harmonised
            else 0
            for key in assets
        )
        _count_bands(item, assets)
        mask = next(iter(_held(item, collection.mask_assets)), None)
        plan.append(SceneRead(item, assets, offsets, mask))
    return plan


def read(
    plan: Sequence[SceneRead],
    grid: PixelGrid,
    collection: Collection,
    catalog: Catalog,
    deadline: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read all scenes onto a grid.

    Returns:
        Values and validity, both (T, C, H, W), in the order of the plan; cloudy pixels and
        those without data are not valid.

    Raises:
        SourceError: A file is missing, damaged, or not one that the catalog may point to.
    """
    shape = (len(plan), len(plan[0].assets), *grid.shape)
    values, valid = np.empty(shape, np.float32), np.empty(shape, np.bool_)
    try:
        for positions in _alike(plan):
            scenes = [plan[position] for position in positions]
            items = [scene.item for scene in scenes]
            loaded = _load(
                items,
                scenes[0].assets,
                grid,
                collection.nodata,
                collection.resampling,
                catalog,
                deadline,
                overviews=not collection.positive,
            )
            values[positions] = loaded
            valid[positions] = _has_data(loaded, collection)
            if scenes[0].mask is not None and collection.mask is not None:
                key = (scenes[0].mask,)
                flags = _load(items, key, grid, None, "nearest", catalog, deadline, overviews=False)
                valid[positions] &= clear(flags, collection.mask)
    except GeoBentoError:
        raise
    except Exception as error:
        reading = f"reading from the source {catalog.name!r}"
        if isinstance(error, TimeoutError) or time.monotonic() > deadline:
            reason = f"{reading} did not end in the time that it has"
            raise SourceUnavailable(reason) from error
        raise SourceError(f"{reading} failed ({type(error).__name__})") from error
    offsets = np.array([scene.offsets for scene in plan], np.float32)[:, :, None, None]
    if offsets.any():
        shifted = np.maximum(values + offsets, 0)
        values = np.where(valid & (values > 0), shifted, values)
    if collection.stac_scale != 1:
        values *= np.float32(collection.stac_scale)
    if collection.stac_power != 1:
        values = np.sign(values) * np.abs(values) ** np.float32(collection.stac_power)
    return values, valid


def _passes(items: Sequence[pystac.Item]) -> list[list[int]]:
    return passes([(item.properties.get("platform"), item_time(item)) for item in items])


def _alike(plan: Sequence[SceneRead]) -> list[list[int]]:
    """Positions of scenes that have the same assets, so that one call can read them."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for position, scene in enumerate(plan):
        groups[scene.assets, scene.mask].append(position)
    return list(groups.values())


def _load(
    items: Sequence[pystac.Item],
    assets: Sequence[str],
    grid: PixelGrid,
    nodata: float | None,
    resampling: Resampling,
    catalog: Catalog,
    deadline: float,
    *,
    overviews: bool,
) -> NDArray[np.float32]:
    """(T, C, H, W) of one asset per band, T in the order of the items.

    Overviews of a file may be made by any method: they can hold classes between two classes, and
    power below zero. Where that matters, coarse pixels are made from the full resolution.
    Pixels without data, whatever value a file has for them, hold `nodata`, or NaN if None.
    """
    import odc.stac
    import rasterio
    from affine import Affine
    from odc.geo.geobox import GeoBox

    geobox = GeoBox(grid.shape, Affine(*grid.transform), grid.crs)
    files = catalog.files
    with rasterio.Env(**geotiff.options(deadline)):
        loaded = odc.stac.load(
            list(items),
            bands=list(assets),
            geobox=geobox,
            groupby="id",
            resampling=resampling,
            dtype="float32",
            nodata=np.nan if nodata is None else nodata,
            use_overviews=overviews,
            patch_url=lambda href: files.path(href, deadline),
            driver=geotiff.GeoTiffDriver(deadline),
            chunks=None,
            pool=files.at_a_time if files.at_a_time > 1 else None,
            fail_on_error=True,
            preserve_original_order=True,
        )
    if len(loaded.time) != len(items):
        raise SourceError(f"{len(items) - len(loaded.time)} scenes could not be read")
    return np.stack([np.asarray(loaded[key].values) for key in assets], axis=1)


def _has_data(values: NDArray[np.float32], collection: Collection) -> NDArray[np.bool_]:
    has = np.isfinite(values)
    if collection.nodata is not None:
        has &= values != collection.nodata
    if collection.positive:
        has &= values > 0
    return has


def _held(item: pystac.Item, keys: Sequence[str]) -> list[str]:
    """Which of these assets an item has, in the same order."""
    return [key for key in keys if key.split(".")[0] in item.assets]


def _count_bands(item: pystac.Item, keys: Sequence[str]) -> None:
    """State how many bands a file has: odc-stac goes by a field that catalogs may leave out."""
    for key in keys:
        name, _, number = key.partition(".")
        fields = item.assets[name].extra_fields
        if number and len(fields.get("raster:bands", ())) < int(number):
            described = fields.get("eo:bands", fields.get("bands", ()))
            fields["raster:bands"] = [{} for _ in range(max(len(described), int(number)))]


def _complete(
    items: Sequence[pystac.Item], bands: Sequence[str], collection: Collection
) -> list[pystac.Item]:
    """The items that have all bands."""
    complete = [
        item for item in items if all(_held(item, collection.bands.get(band, ())) for band in bands)
    ]
    if complete:
        return complete
    offered = [
        band for band, keys in collection.bands.items() if any(_held(item, keys) for item in items)
    ]
    absent = [band for band in bands if band not in offered]
    lacks = f"no band {absent[0]!r}" if absent else f"no scene with all of {', '.join(bands)}"
    raise ModelError(
        f"{collection.id} has {lacks} in this source{hint(absent, offered)}; accepted: "
        f"{', '.join(offered)}",
        field="sensor.bands",
    )


def _preferred(items: Sequence[pystac.Item], collection: Collection) -> list[pystac.Item]:
    """Of each tile of each pass, the items of the most preferred form alone."""
    chosen: list[int] = []
    for positions in _passes(items):
        best: dict[Any, int] = {}
        ranks = {p: collection.stac.index(items[p].collection_id or "") for p in positions}
        for position in positions:
            key = tile(items[position])
            best[key] = min(best.get(key, len(collection.stac)), ranks[position])
        chosen += [p for p in positions if ranks[p] == best[tile(items[p])]]
    return [items[position] for position in sorted(chosen)]


def _scene(scene: SceneRead, collection: Collection) -> Scene:
    item = scene.item
    stated = item.properties.get(collection.cloud_property) if collection.cloud_property else None
    baseline = item.properties.get("s2:processing_baseline")
    taken_out = any(scene.offsets) or (
        collection.harmonised and item.properties.get("earthsearch:boa_offset_applied") is True
    )
    return Scene(
        item.id,
        item_time(item),
        collections.number(stated),
        taken_out,
        None if baseline is None else str(baseline),
    )
