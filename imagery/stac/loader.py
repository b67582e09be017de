"""Reading the scenes of a catalog onto a pixel grid."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray

from geobento.schemas.errors import GeoBentoError, SourceError, SourceUnavailable
from geobento.schemas.sample import PixelGrid
from imagery.collections.schema import Collection, Resampling
from imagery.compositing import clear_sky_mask
from imagery.stac import geotiff
from imagery.stac.catalogs.base import Catalog
from imagery.stac.planner import SceneRead


def read_scenes(
    plan: Sequence[SceneRead],
    grid: PixelGrid,
    collection: Collection,
    catalog: Catalog,
    deadline: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read scenes onto a grid.

    Returns:
        Values and validity, both (T, C, H, W), in the order of the plan. Cloudy pixels and pixels
        without data are invalid.

    Raises:
        SourceError: A file is missing, damaged, or not allowed.
    """
    shape = (len(plan), len(plan[0].assets), *grid.shape)
    values, valid = np.empty(shape, np.float32), np.empty(shape, np.bool_)
    try:
        for positions in _group_by_assets(plan):
            scenes = [plan[position] for position in positions]
            items = [scene.item for scene in scenes]
            loaded = _load_items(
                items,
                scenes[0].assets,
                grid,
                collection.nodata,
                collection.resampling,
                catalog,
                deadline,
                use_overviews=not collection.positive_only,
            )
            values[positions] = loaded
            valid[positions] = _valid_mask(loaded, collection)
            if scenes[0].mask is not None and collection.mask is not None:
                key = (scenes[0].mask,)
                flags = _load_items(
                    items, key, grid, None, "nearest", catalog, deadline, use_overviews=False
                )
                valid[positions] &= clear_sky_mask(flags, collection.mask)
    except GeoBentoError:
        raise
    except Exception as error:
        reading = f"reading from the source {catalog.name!r}"
        if isinstance(error, TimeoutError) or time.monotonic() > deadline:
            reason = f"{reading} did not end before the timeout"
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


def _group_by_assets(plan: Sequence[SceneRead]) -> list[list[int]]:
    """Positions of scenes with equal assets, which one call can read."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for position, scene in enumerate(plan):
        groups[scene.assets, scene.mask].append(position)
    return list(groups.values())


def _load_items(
    items: Sequence[pystac.Item],
    assets: Sequence[str],
    grid: PixelGrid,
    nodata: float | None,
    resampling: Resampling,
    catalog: Catalog,
    deadline: float,
    *,
    use_overviews: bool,
) -> NDArray[np.float32]:
    """Pixels (T, C, H, W) of one asset per band, T in the order of the items.

    Files may have been built with any overview resampling. Averaged overviews hold invalid classes,
    and cubic ones negative power. `use_overviews` is off where that matters.
    Pixels without data have the value `nodata`, or NaN if it is None, whatever the file declares.
    """
    import odc.stac
    import rasterio
    from affine import Affine
    from odc.geo.geobox import GeoBox

    geobox = GeoBox(grid.shape, Affine(*grid.transform), grid.crs)
    files = catalog.files
    with rasterio.Env(**geotiff.gdal_options(deadline)):
        loaded = odc.stac.load(
            list(items),
            bands=list(assets),
            geobox=geobox,
            groupby="id",
            resampling=resampling,
            dtype="float32",
            nodata=np.nan if nodata is None else nodata,
            use_overviews=use_overviews,
            patch_url=lambda href: files.gdal_path(href, deadline),
            driver=geotiff.GeoTiffDriver(deadline, _shared_asset_bands(assets)),
            chunks=None,
            pool=files.max_concurrent_reads if files.max_concurrent_reads > 1 else None,
            fail_on_error=True,
            preserve_original_order=True,
        )
    if len(loaded.time) != len(items):
        raise SourceError(f"{len(items) - len(loaded.time)} scenes could not be read")
    return np.stack([np.asarray(loaded[key].values) for key in assets], axis=1)


def _shared_asset_bands(keys: Sequence[str]) -> list[int]:
    """The band numbers of keys of one asset; empty if the keys name several assets."""
    parts = [key.partition(".") for key in keys]
    return [int(number or 1) for _, _, number in parts] if len({p[0] for p in parts}) == 1 else []


def _valid_mask(values: NDArray[np.float32], collection: Collection) -> NDArray[np.bool_]:
    valid = np.isfinite(values)
    if collection.nodata is not None:
        valid &= values != collection.nodata
    if collection.positive_only:
        valid &= values > 0
    return valid
