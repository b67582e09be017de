"""GeoTIFFs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.transform import Affine

CRS = "EPSG:32736"
TRANSFORM = (10.0, 0.0, 617_420.0, 0.0, -10.0, 9_625_020.0)


def geotiff(
    pixels: NDArray[Any],
    *,
    bands: Sequence[str] | None = None,
    units: Sequence[str] | str | None = None,
    scales: Sequence[float] | None = None,
    offsets: Sequence[float] | None = None,
    mask: NDArray[np.bool_] | None = None,
    alpha: int | None = None,
    crs: str | None = CRS,
    transform: Sequence[float] | None = TRANSFORM,
    **profile: Any,
) -> bytes:
    """A file of pixels (C, H, W) that says of itself what is given."""
    count, height, width = pixels.shape
    dtype = profile.pop("dtype", pixels.dtype.name)
    if transform is not None:
        profile["transform"] = Affine(*transform)
    if crs is not None:
        profile["crs"] = crs
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=count, height=height, width=width, dtype=dtype, **profile
        ) as file:
            if alpha is not None:
                kinds = [ColorInterp.gray] + [ColorInterp.undefined] * (count - 1)
                kinds[alpha] = ColorInterp.alpha
                file.colorinterp = kinds
            file.write(pixels)
            if bands is not None:
                file.descriptions = tuple(bands)
            if units is not None:
                file.units = (units,) * count if isinstance(units, str) else tuple(units)
            if scales is not None:
                file.scales = tuple(scales)
            if offsets is not None:
                file.offsets = tuple(offsets)
            if mask is not None:
                file.write_mask(mask)
        content: bytes = memory.read()
    return content
