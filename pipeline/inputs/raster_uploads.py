"""Files of pixels to arrays, without following anything that a file may point to."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.errors import GeoBentoError, InvalidImage, PayloadTooLarge
from pipeline.inputs.decompression import check_decompression_bomb

MAX_DECODED_BYTES = 256 * 2**20
"""Most bytes of a file's pixels when decompressed."""
MAX_CRS_LENGTH = 8192
"""Longest definition of a reference system, characters."""
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_NUM_THREADS": "1",
    "GDAL_PAM_ENABLED": "NO",
}
"""No sidecar files (overviews, masks, statistics, world files) beside the one that was given."""

ALPHA_NAMES = frozenset({"", "a", "alpha", "mask"})
"""Descriptions of an alpha band, lower case. A band with another name is data, whatever its tag."""

_REAL_DTYPES = re.compile(r"u?int\d+|float\d+|[<>=|]?[iuf]\d+")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Beginnings of TIFFs, with 32 and 64 bit offsets."""
_NPY_MAGIC = b"\x93NUMPY"
_NpyHeader = tuple[tuple[int, ...], bool, np.dtype[Any]]
_NPY_HEADER_READERS: dict[tuple[int, int], Callable[[io.BytesIO], _NpyHeader]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_NPY_HEADER_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    TokenError,
    RecursionError,
    MemoryError,
)
"""What NumPy raises for headers that are none, as it reads them as text of a program."""


@dataclass(frozen=True)
class RasterUpload:
    """What a file holds and says of itself.

    Attributes:
        file_type: ``GeoTIFF`` or ``NumPy array``.
        pixels: ``(C, H, W)``, of an array also ``(T, C, H, W)``; values as stored.
        bands: Names of the C bands; None: it does not name all.
        units: Units of all bands; None: not stated, or not the same.
        scaling: Factor and offset per band, ``stored * factor + offset``; empty: none.
        crs: Reference system as WKT.
        transform: ``(a, b, c, d, e, f)`` as in `PixelGrid`.
        nodata: Value that means no data.
        mask: ``(H, W)``: where the file's own mask says that there are data.
        alpha: Position of a band that the file tags as alpha and does not name as data.
    """

    file_type: str
    pixels: NDArray[Any]
    bands: tuple[str, ...] | None = None
    units: str | None = None
    scaling: tuple[tuple[float, float], ...] = ()
    crs: str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    nodata: float | None = None
    mask: NDArray[np.bool_] | None = None
    alpha: int | None = None

    def with_alpha_as_mask(self) -> RasterUpload:
        """The same without its alpha band; where that is 0, there are no data."""
        if self.alpha is None:
            return self
        others = [band for band in range(self.pixels.shape[-3]) if band != self.alpha]
        opaque = self.pixels[..., self.alpha, :, :] > 0
        return replace(
            self,
            pixels=self.pixels[..., others, :, :],
            bands=None if self.bands is None else tuple(self.bands[band] for band in others),
            scaling=tuple(self.scaling[band] for band in others) if self.scaling else (),
            mask=opaque if self.mask is None else self.mask & opaque,
            alpha=None,
        )


def read_raster(data: bytes, max_pixels: int) -> RasterUpload:
    """Decode a GeoTIFF or an ``.npy`` file.

    Args:
        data: The file.
        max_pixels: Most pixels of one band.

    Raises:
        InvalidImage: The bytes are neither, damaged, or hold no real numbers.
        PayloadTooLarge: More pixels or bytes than allowed.
    """
    try:
        if data.startswith(TIFF_MAGIC):
            check_decompression_bomb(data)
            return _read_geotiff(data, max_pixels)
        if data.startswith(_NPY_MAGIC):
            return _read_npy(data, max_pixels)
        raise InvalidImage("this file is not read here; accepted: a GeoTIFF or an .npy file")
    except GeoBentoError as error:
        error.field = "pixels"
        raise


def _read_geotiff(data: bytes, max_pixels: int) -> RasterUpload:
    import rasterio
    from rasterio.io import MemoryFile

    # Damaged files lead GDAL to errors of several kinds, whose messages name its own files.
    try:
        with (
            rasterio.Env(**GDAL_OPTIONS),
            MemoryFile(data) as memory,
            memory.open(driver="GTiff") as file,
        ):
            return _read_dataset(file, max_pixels)
    except (GeoBentoError, MemoryError):
        raise
    except Exception:  # of rasterio, some of them private
        raise InvalidImage("the GeoTIFF is damaged or incomplete") from None


def _read_dataset(file: Any, max_pixels: int) -> RasterUpload:
    from rasterio.enums import ColorInterp, MaskFlags

    _check_dtypes(*file.dtypes)
    kinds = {np.dtype(name) for name in file.dtypes}
    largest_block = max(rows * columns for rows, columns in file.block_shapes)
    _check_size(file.height, file.width, max_pixels)
    _check_size(largest_block, 1, max_pixels, "a tile of the file")
    _check_bytes(
        max(file.height * file.width, largest_block)
        * file.count
        * max(kind.itemsize for kind in kinds)
    )
    scaling = tuple(zip(map(float, file.scales), map(float, file.offsets), strict=True))
    seen = None
    if all(flags == [MaskFlags.per_dataset] for flags in file.mask_flag_enums):
        seen = file.read_masks(1) > 0
    alphas = [
        position
        for position, (color, name) in enumerate(
            zip(file.colorinterp, file.descriptions, strict=True)
        )
        if color == ColorInterp.alpha and (name or "").lower() in ALPHA_NAMES
    ]
    units = {unit for position, unit in enumerate(file.units) if position not in alphas}
    names = [
        "alpha" if position in alphas else name for position, name in enumerate(file.descriptions)
    ]
    crs = None if file.crs is None else str(file.crs.to_wkt(version="WKT2_2019"))
    if crs is not None and len(crs) > MAX_CRS_LENGTH:
        raise InvalidImage(
            f"the definition of the reference system has {len(crs)} characters; accepted: up to "
            f"{MAX_CRS_LENGTH}"
        )
    return RasterUpload(
        "GeoTIFF",
        file.read(),
        bands=tuple(names) if all(names) else None,
        units=units.pop() or None if len(units) == 1 else None,
        scaling=() if set(scaling) == {(1.0, 0.0)} else scaling,
        crs=crs,
        transform=None if file.transform.is_identity else tuple(file.transform)[:6],
        nodata=file.nodata,
        mask=seen,
        alpha=alphas[-1] if alphas and file.count > 1 else None,
    )


def _read_npy(data: bytes, max_pixels: int) -> RasterUpload:
    stream = io.BytesIO(data)
    try:
        read_header = _NPY_HEADER_READERS[np.lib.format.read_magic(stream)]
        shape, columns_first, kind = read_header(stream)
    except _NPY_HEADER_ERRORS:
        raise InvalidImage(
            "the .npy file is damaged, or not of version 1.0 or 2.0 of the format"
        ) from None
    _check_dtypes(str(kind))
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InvalidImage(f"the array has shape {shape}; accepted: (C, H, W) and (T, C, H, W)")
    _check_size(shape[-2], shape[-1], max_pixels)
    flat = memoryview(data)[stream.tell() :]
    if len(flat) != math.prod(shape) * kind.itemsize:
        raise InvalidImage(
            f"the array has {len(flat)} bytes, its shape {shape} needs "
            f"{math.prod(shape) * kind.itemsize}"
        )
    values = np.frombuffer(flat, kind)
    pixels = values.reshape(shape[::-1]).T if columns_first else values.reshape(shape)
    return RasterUpload("NumPy array", pixels)


def _check_dtypes(*dtypes: str) -> None:
    for kind in dtypes:
        if not _REAL_DTYPES.fullmatch(kind):
            raise InvalidImage(f"the values are of type {kind[:80]}; accepted: integers and floats")


def _check_size(height: int, width: int, limit: int, subject: str = "the region") -> None:
    if height * width > limit:
        raise PayloadTooLarge(
            f"{subject} has {height * width:,} pixels; accepted: up to {limit:,}",
            detail={"pixels": height * width, "limit": limit},
        )


def _check_bytes(size: int) -> None:
    if size > MAX_DECODED_BYTES:
        raise PayloadTooLarge(
            f"the file has {size:,} bytes of pixels; accepted: up to {MAX_DECODED_BYTES:,}",
            detail={"bytes": size, "limit": MAX_DECODED_BYTES},
        )
