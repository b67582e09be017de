"""A grid of vectors as an xarray array or a GeoTIFF file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobento.schemas.errors import SpecError

if TYPE_CHECKING:
    import xarray

    from geobento.schemas.embedding import Embedding, GridMeta

BAND_DIM = "band"
"""Name of the axis of the vectors' components."""


def to_xarray(embedding: Embedding) -> xarray.DataArray:
    """An array with dimensions (band, y, x), coordinates of the cells' centres, and the CRS.

    The CRS is the variable `spatial_ref` in the form of the CF conventions.

    Raises:
        SpecError: The embedding is a vector.
    """
    import xarray
    from rasterio.crs import CRS

    grid = _require_grid(embedding)
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
        embedding.data,
        dims=(BAND_DIM, "y", "x"),
        coords={
            BAND_DIM: np.arange(1, len(embedding.data) + 1),
            "y": ("y", top + e * (np.arange(grid.height) + 0.5)),
            "x": ("x", left + a * (np.arange(grid.width) + 0.5)),
            "spatial_ref": reference,
        },
        name=embedding.meta.model,
        attrs={"grid_mapping": "spatial_ref", "meta": embedding.meta.model_dump_json()},
    )


def to_geotiff(embedding: Embedding, path: str | Path) -> None:
    """Write a GeoTIFF of float32 with one band for every component of the vectors.

    Cells that there are no data for are NaN, and the file says so. The metadata are in the tag
    `GEOBENTO_META`, as JSON.

    Raises:
        SpecError: The embedding is a vector.
    """
    import rasterio
    from rasterio.transform import Affine

    grid = _require_grid(embedding)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(embedding.data),
        height=grid.height,
        width=grid.width,
        dtype="float32",
        nodata=np.nan if np.isnan(embedding.data).any() else None,
        crs=grid.crs,
        transform=Affine(*grid.transform),
        compress="deflate",
        predictor=3,
        bigtiff="if_safer",
    ) as file:
        file.write(embedding.data)
        file.update_tags(GEOBENTO_META=embedding.meta.model_dump_json())


def _require_grid(embedding: Embedding) -> GridMeta:
    grid = embedding.meta.grid
    if grid is None and embedding.data.ndim == 3:
        raise SpecError(
            "these pixels came without crs and transform, so their grid lies nowhere; give both "
            "for one that can be put on a map",
            field="crs",
        )
    if grid is None or embedding.data.ndim != 3:
        raise SpecError(
            "this embedding is a vector and lies nowhere; ask with output=OutputSpec.grid() for "
            "one that can be put on a map",
            field="output",
        )
    return grid
