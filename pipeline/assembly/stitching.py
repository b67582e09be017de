"""Stitches the tiles of a region to one grid or one vector. Pure.

Along each axis a point belongs to the tile whose centre is nearest, which puts the boundary of two
tiles at the middle of their overlap; exactly there it belongs to the first of the two.

The grid of the whole has equal cells, as many as fit best with the size that cells have in a tile.
Every cell takes the vector of the cell that its centre lies in, in the tile that its centre belongs
to. So every vector is one that the model gave; where the cells of tile and whole coincide nothing
moves, and elsewhere nothing moves by more than half a cell of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.errors import NoImageryError
from geobento.schemas.sample import PixelGrid
from pipeline.planning.tiling import Tiling

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Axis:
    """The cells of the whole along one axis.

    Attributes:
        start: Where the first cell begins, pixels.
        end: Where the last cell ends, pixels.
        tile_index: (n,) position of the tile that every cell belongs to.
        cell_index: (n,) position of the cell in that tile that it takes its vector from.
    """

    start: float
    end: float
    tile_index: NDArray[np.intp]
    cell_index: NDArray[np.intp]


def stitch_tiles(tiles: Sequence[Vectors], tiling: Tiling, margin: float = 0.0) -> Vectors:
    """One grid of the grids of tiles.

    Args:
        tiles: (D, h, w) for every tile, row by row.
        tiling: Where the tiles lie.
        margin: Pixels at every side of a tile that its cells do not cover.

    Returns:
        (D, H, W), first row north.
    """
    height, width = tiles[0].shape[1:]
    down, right = cell_axes(tiling, height, width, margin)
    stacked = np.stack(tiles).reshape(len(tiling.rows), len(tiling.columns), *tiles[0].shape)
    # Indices on both sides of a slice: their axes come first.
    cells = stacked[
        down.tile_index[:, None],
        right.tile_index[None, :],
        :,
        down.cell_index[:, None],
        right.cell_index[None, :],
    ]
    return np.ascontiguousarray(np.moveaxis(cells, -1, 0))


def stitched_grid(
    pixels: PixelGrid, tiling: Tiling, height: int, width: int, margin: float = 0.0
) -> PixelGrid:
    """Where the cells of `grid` lie on the ground.

    Args:
        pixels: The pixels of the region.
        tiling: Its tiles.
        height: Rows of cells of a tile.
        width: Columns of cells of a tile.
        margin: Pixels at every side of a tile that its cells do not cover.
    """
    down, right = cell_axes(tiling, height, width, margin)
    a, _, left, _, e, top = pixels.transform
    rows, columns = len(down.tile_index), len(right.tile_index)
    transform = (
        a * (right.end - right.start) / columns,
        0.0,
        left + a * right.start,
        0.0,
        e * (down.end - down.start) / rows,
        top + e * down.start,
    )
    return PixelGrid(pixels.crs, transform, rows, columns)


def pool_cells(
    vectors: Vectors, pooling: Literal["mean", "max"], weights: NDArray[np.float32] | None = None
) -> Vectors:
    """One vector (D,) of a grid (D, H, W).

    Args:
        vectors: The grid; cells of NaN, which there are no data for, do not count.
        pooling: `mean` or `max` of the cells that count.
        weights: (H * W,) what every cell counts, with sum 1; None: all alike.

    Raises:
        NoImageryError: No cell counts.
    """
    flat = vectors.reshape(len(vectors), -1)
    counts = ~np.isnan(flat).any(axis=0)
    if weights is not None:
        counts &= weights > 0
    if not counts.any():
        raise NoImageryError("there are no data inside of the region")
    flat = flat[:, counts]
    if weights is not None:
        weights = weights[counts] / weights[counts].sum()
    if pooling == "max":
        largest: Vectors = flat.max(axis=1)
        return largest
    mean = flat.mean(axis=1, dtype=np.float64) if weights is None else flat @ weights
    return mean.astype(np.float32)


def pool_tiles(
    vectors: Sequence[Vectors], tiling: Tiling, pooling: Literal["mean", "max"]
) -> Vectors:
    """One vector (D,) of the vectors (D,) of tiles, row by row.

    `mean`: weighted by the area that belongs to each tile. `max`: the largest, by component.
    """
    stacked = np.stack(vectors)
    if pooling == "max":
        largest: Vectors = stacked.max(axis=0)
        return largest
    down = _tile_extents(tiling.rows, tiling.size, tiling.shape[0])
    right = _tile_extents(tiling.columns, tiling.size, tiling.shape[1])
    areas = np.outer(down, right).ravel() / (tiling.shape[0] * tiling.shape[1])
    mean: Vectors = (areas @ stacked.astype(np.float64)).astype(np.float32)
    return mean


def cell_axes(tiling: Tiling, height: int, width: int, margin: float = 0.0) -> tuple[Axis, Axis]:
    """The cells of the whole along both axes: rows from north, columns from west."""
    return (
        _cell_axis(tiling.rows, tiling.size, tiling.shape[0], height, margin),
        _cell_axis(tiling.columns, tiling.size, tiling.shape[1], width, margin),
    )


def _cell_axis(starts: Sequence[int], size: int, length: int, count: int, margin: float) -> Axis:
    low, high = margin, min(length, starts[-1] + size - margin)
    if low >= high:  # all of a tiny region lies in the margin
        low, high = 0.0, float(length)
    side = (size - 2 * margin) / count
    number = max(1, round((high - low) / side))
    centres = low + (np.arange(number) + 0.5) * (high - low) / number
    tile = np.searchsorted(_boundaries(starts, size), centres, side="left")
    cell = np.floor((centres - np.asarray(starts)[tile] - margin) / side)
    return Axis(low, high, tile, np.clip(cell, 0, count - 1).astype(np.intp))


def _tile_extents(starts: Sequence[int], size: int, length: int) -> NDArray[np.float64]:
    """Pixels along an axis that belong to every tile."""
    return np.diff([0.0, *_boundaries(starts, size), float(length)])


def _boundaries(starts: Sequence[int], size: int) -> NDArray[np.float64]:
    """Where the area of one tile ends and that of the next begins."""
    middles = np.asarray(starts, np.float64) + size / 2
    return (middles[:-1] + middles[1:]) / 2
