"""A grid of vectors as an xarray array or a GeoTIFF file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.errors import MissingExtra
from geobento.schemas.grid import GridMeta

if TYPE_CHECKING:
    import xarray

BAND_DIM = "band"
"""Name of the axis of the vectors' components."""


def to_xarray(
    data: NDArray[np.float32], grid: GridMeta, name: str, metadata: str
) -> xarray.DataArray:
    """An array with dimensions (band, y, x), coordinates of the cells' centres, and the CRS.

    The CRS is the variable `spatial_ref` in the form of the CF conventions.

    Args:
        data: ``(D, H, W)`` float32.
        grid: Grid of the cells.
        name: Name of the array.
        metadata: JSON for the attribute `meta`.

    Raises:
        MissingExtra: xarray or rasterio is not installed.
    """
    try:
        import xarray
        from rasterio.crs import CRS
    except ModuleNotFoundError as error:
        raise _missing(error.name, "to_xarray") from error

    a, _, left, _, e, top = grid.transform
    wkt = CRS.from_user_input(grid.crs).to_wkt()
    reference = xarray.Variable(
        (),
        0,
        {
            "crs_wkt": wkt,
            "spatial_ref": wkt,
            "GeoTransform": " ".join(map(repr, (left, a, 0.0, top, 0.0, e))),
        },
    )
    return xarray.DataArray(
        data,
        dims=(BAND_DIM, "y", "x"),
        coords={
            BAND_DIM: np.arange(1, len(data) + 1),
            "y": ("y", top + e * (np.arange(grid.height) + 0.5)),
            "x": ("x", left + a * (np.arange(grid.width) + 0.5)),
            "spatial_ref": reference,
        },
        name=name,
        attrs={"grid_mapping": "spatial_ref", "meta": metadata},
    )


def to_geotiff(data: NDArray[np.float32], grid: GridMeta, metadata: str, path: str | Path) -> None:
    """Write a GeoTIFF of float32 with one band per component of the vectors.

    Cells without data are NaN, and NaN is then the file's nodata value.

    Args:
        data: ``(D, H, W)`` float32.
        grid: Grid of the cells.
        metadata: JSON for the tag `GEOBENTO_META`.
        path: File to write.

    Raises:
        MissingExtra: rasterio is not installed.
    """
    try:
        import rasterio
        from rasterio.transform import Affine
    except ModuleNotFoundError as error:
        raise _missing(error.name, "to_geotiff") from error

    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(data),
        height=grid.height,
        width=grid.width,
        dtype="float32",
        nodata=np.nan if np.isnan(data).any() else None,
        crs=grid.crs,
        transform=Affine(*grid.transform),
        compress="deflate",
        predictor=3,
        bigtiff="if_safer",
    ) as file:
        file.write(data)
        file.update_tags(GEOBENTO_META=metadata)


def _missing(package: str | None, operation: str) -> MissingExtra:
    return MissingExtra(
        f"{operation} needs {package}, which is not installed: pip install rasterio xarray"
    )
