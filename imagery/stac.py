"""Imagery from a STAC catalog: search, plan, read, composite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray

from geobento.errors import GeoBentoError, ModelError, NoImagery, SourceError
from geobento.sample import PixelGrid, Provenance, Sample, Scene
from imagery import collections
from imagery.collections import Collection, Resampling
from imagery.composite import clear, composite
from imagery.grid import lonlat_bounds
from imagery.source import ImageQuery
from imagery.static_catalog import Search, StaticCatalog, item_time, local_file, matches

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_NUM_THREADS": "1",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif,.tiff,.TIF",
}


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
    """A source over a static STAC catalog.

    Args:
        catalog: Where items are found.
        backend: Word of the public ``backend`` parameter.
        notice: What every answer has to say about this imagery.
    """

    def __init__(
        self, catalog: StaticCatalog, *, backend: str = "stac", notice: str | None = None
    ) -> None:
        self._catalog = catalog
        self._backend = backend
        self._notice = notice

    @property
    def backend(self) -> str:
        """The word of the public ``backend`` parameter."""
        return self._backend

    def fetch(self, query: ImageQuery) -> Sample:
        """One composite of shape (C, H, W), see `imagery.source.Source`."""
        collection = collections.get(query.sensor.collection)
        search = search_for(query, collection)
        found = self._catalog.search(search)
        if not found:
            raise self._nothing(query, search)
        plan = plan_reads(found, query.sensor.bands, collection)
        stack, valid = read(plan, query.grid, collection, self._catalog)
        seen = np.asarray(valid.any(axis=(1, 2, 3)))
        if not seen.any():
            raise self._nothing(query, search)
        pixels, whole = composite(
            stack[seen], valid[seen], query.sensor.composite, query.sensor.fill_value
        )
        scenes = [
            _scene(read_of.item, collection)
            for read_of, used in zip(plan, seen, strict=True)
            if used
        ]
        return Sample(
            pixels,
            query.sensor.bands,
            query.modality,
            valid=whole,
            grid=query.grid,
            times=tuple(scene.time for scene in scenes),
            provenance=Provenance(self._backend, self._catalog.name, tuple(scenes), self._notice),
        )

    def _nothing(self, query: ImageQuery, search: Search) -> NoImagery:
        """The error for an empty result, with what the catalog does hold at this place."""
        anywhen = Search(search.collections, search.bounds)
        times = [item_time(item) for item in self._catalog.items if matches(item, anywhen)]
        window = f"{query.start.date()} to {query.end.date()}"
        if not times:
            reason = "it has none of this place at any time"
        else:
            reason = (
                f"of this place it has {len(times)} scenes from {min(times).date()} to "
                f"{max(times).date()}"
            )
        clouds = (
            f" with at most {query.sensor.cloudy_pct:g} % cloud"
            if search.max_cloud is not None
            else ""
        )
        return NoImagery(
            f"the source {self._catalog.name!r} has no usable pixel of "
            f"{query.sensor.collection} for {window}{clouds}; {reason}",
            detail={
                "collection": query.sensor.collection,
                "source": self._catalog.name,
                "scenes_at_any_time": len(times),
                "first": min(times).isoformat() if times else None,
                "last": max(times).isoformat() if times else None,
            },
        )


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
    )


def plan_reads(
    items: Sequence[pystac.Item], bands: Sequence[str], collection: Collection
) -> list[SceneRead]:
    """Which assets to read and what to add to their values. Pure.

    Where a catalog has an acquisition in several of the collection's forms, the preferred one
    is taken.

    Raises:
        ModelError: The collection, or an item, lacks a band.
    """
    first = next(name for name in collection.stac if any(i.collection_id == name for i in items))
    plan = []
    for item in items:
        if item.collection_id != first:
            continue
        assets = tuple(_asset(item, band, collection) for band in bands)
        offsets = tuple(
            collections.offset(item.properties, item.assets[key].to_dict(), first)
            if collection.harmonised
            else 0
            for key in assets
        )
        mask = collection.mask_asset if collection.mask_asset in item.assets else None
        plan.append(SceneRead(item, assets, offsets, mask))
    return plan


def read(
    plan: Sequence[SceneRead], grid: PixelGrid, collection: Collection, catalog: StaticCatalog
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read all scenes onto a grid.

    Returns:
        Values and validity, both (T, C, H, W), in the order of the plan; cloudy pixels and
        those without data are not valid.

    Raises:
        SourceError: A file is missing, damaged, or not one that the catalog may point to.
    """
    for scene in plan:
        for key in (*scene.assets, *([scene.mask] if scene.mask else [])):
            local_file(scene.item.assets[key].href, catalog.root)
    shape = (len(plan), len(plan[0].assets), *grid.shape)
    values, valid = np.empty(shape, np.float32), np.empty(shape, np.bool_)
    try:
        for positions in _alike(plan):
            scenes = [plan[position] for position in positions]
            items = [scene.item for scene in scenes]
            loaded = _load(items, scenes[0].assets, grid, collection.nodata, collection.resampling)
            values[positions] = loaded
            valid[positions] = _has_data(loaded, collection.nodata)
            if scenes[0].mask is not None:
                classes = _load(items, (scenes[0].mask,), grid, 0, "nearest")
                valid[positions] &= clear(classes)
    except GeoBentoError:
        raise
    except Exception as error:
        raise SourceError(
            f"reading from the source {catalog.name!r} failed ({type(error).__name__})"
        ) from error
    offsets = np.array([scene.offsets for scene in plan], np.float32)[:, :, None, None]
    if offsets.any():
        shifted = np.maximum(values + offsets, 0)
        values = np.where(valid & (values > 0), shifted, values)
    return values, valid


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
) -> NDArray[np.float32]:
    """(T, C, H, W) of one asset per band, T in the order of the items."""
    import odc.stac
    import rasterio
    from affine import Affine
    from odc.geo.geobox import GeoBox

    geobox = GeoBox(grid.shape, Affine(*grid.transform), grid.crs)
    with rasterio.Env(**GDAL_OPTIONS):
        loaded = odc.stac.load(
            list(items),
            bands=list(assets),
            geobox=geobox,
            groupby="id",
            resampling=resampling,
            nodata=nodata,
            chunks=None,
            pool=None,
            fail_on_error=True,
            preserve_original_order=True,
        )
    if len(loaded.time) != len(items):
        raise SourceError(f"{len(items) - len(loaded.time)} scenes could not be read")
    return np.stack([np.asarray(loaded[key].values) for key in assets], axis=1).astype(np.float32)


def _has_data(values: NDArray[np.float32], nodata: float | None) -> NDArray[np.bool_]:
    finite = np.isfinite(values)
    return finite if nodata is None else finite & (values != nodata)


def _asset(item: pystac.Item, band: str, collection: Collection) -> str:
    for key in collection.bands.get(band, ()):
        if key in item.assets:
            return key
    available = [
        name for name, keys in collection.bands.items() if any(key in item.assets for key in keys)
    ]
    raise ModelError(
        f"{collection.id} has no band {band!r} in this source; accepted: {', '.join(available)}",
        field="sensor.bands",
    )


def _scene(item: pystac.Item, collection: Collection) -> Scene:
    properties: Mapping[str, Any] = item.properties
    cloud = properties.get(collection.cloud_property) if collection.cloud_property else None
    return Scene(item.id, item_time(item), None if cloud is None else float(cloud))
