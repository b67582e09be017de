"""Tiles that cover a pixel grid. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.errors import ModelError, SpecError
from geobento.schemas.sample import PixelGrid, Sample
from geobento.schemas.specs import InputPrepSpec

AUTO_TILING_FACTOR = 1.5
"""`auto` tiles a region whose longer side is more than this many times the input of the model."""
DEFAULT_MAX_TILES = 1024
"""Most tiles of a region that sets no `max_tiles`."""


@dataclass(frozen=True)
class Tiling:
    """Square tiles over a grid of pixels, in rows from north to south.

    Attributes:
        shape: (height, width) of the grid, pixels.
        size: Side of a tile, pixels; more than the grid has only where the grid is padded.
        rows: First pixel row of every row of tiles.
        columns: First pixel column of every column of tiles.
    """

    shape: tuple[int, int]
    size: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """First (row, column) of every tile, row by row."""
        return list(product(self.rows, self.columns))

    def split_array(self, pixels: NDArray[Any]) -> list[NDArray[Any]]:
        """The tiles of an array (..., H, W), each (..., size, size), row by row.

        Where the grid is smaller than a tile, its southern and eastern edges are repeated.
        """
        missing = [(0, max(0, self.size - side)) for side in self.shape]
        if any(after for _, after in missing):
            pixels = np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + missing, mode="edge")
        return [
            pixels[..., row : row + self.size, column : column + self.size]
            for row, column in self.offsets
        ]

    def split_sample(self, sample: Sample) -> list[Sample]:
        """The tiles of a sample, each with the pixels, validity and pixel grid of its own."""
        valid = [None] * len(self) if sample.valid is None else self.split_array(sample.valid)
        tiles = [
            replace(sample, pixels=pixels, valid=seen, grid=self._tile_grid(sample.grid, *corner))
            for pixels, seen, corner in zip(
                self.split_array(sample.pixels), valid, self.offsets, strict=True
            )
        ]
        extras_tiles = {name: self.split_sample(extra) for name, extra in sample.extras.items()}
        return [
            replace(tile, extras={name: extras[position] for name, extras in extras_tiles.items()})
            for position, tile in enumerate(tiles)
        ]

    def _tile_grid(self, grid: PixelGrid | None, row: int, column: int) -> PixelGrid | None:
        if grid is None:
            return None
        a, _, left, _, e, top = grid.transform
        transform = (a, 0.0, left + a * column, 0.0, e, top + e * row)
        return PixelGrid(grid.crs, transform, self.size, self.size)


def choose_tiling(
    prep: InputPrepSpec, shape: tuple[int, int], input_size: int | None, model_id: str
) -> Tiling | None:
    """The tiles that a region is cut into; None: the model gets it whole.

    Args:
        prep: What the request asks for.
        shape: (height, width) of the region, pixels.
        input_size: Side that the model's input has, pixels; None: any.
        model_id: Id of the model, for messages.

    Raises:
        ModelError: The model has no input size, and the request names no tile size.
        SpecError: The tiles leave gaps, are too many, or are larger than the region where it must
            not be padded.
    """
    size = prep.tile_size or input_size
    if prep.mode == "resize" or (prep.mode == "auto" and not _should_tile(prep, shape, size)):
        return None
    if size is None:
        raise ModelError(
            f"{model_id} reads a region of any size whole; accepted: input_prep 'resize' or "
            "'auto', or a tile_size",
            field="input_prep.tile_size",
        )
    stride = prep.tile_stride or size
    if stride > size:
        raise SpecError(
            f"tile_stride is {stride}, tiles of {size} pixels would leave gaps; "
            f"accepted: up to {size}",
            field="input_prep.tile_stride",
        )
    if min(shape) < size and not prep.pad_edges:
        raise SpecError(
            f"the region has {shape[0]} x {shape[1]} pixels, less than a tile of {size}; "
            "accepted: pad_edges true, a smaller tile_size or input_prep 'resize'",
            field="input_prep.pad_edges",
        )
    tiling = Tiling(shape, size, *(tile_starts(side, size, stride) for side in shape))
    limit = prep.max_tiles or DEFAULT_MAX_TILES
    if len(tiling) > limit:
        raise SpecError(
            f"the region needs {len(tiling)} tiles; accepted: up to {limit}. Take a smaller "
            "region, or a larger scale_m, tile_stride or max_tiles",
            field="input_prep.max_tiles",
        )
    return tiling


def tile_starts(length: int, size: int, stride: int) -> tuple[int, ...]:
    """Where tiles begin along an axis: every `stride` pixels, the last one shifted to the end.

    A length of 300 with tiles of 224: 0 and 76. A length of at most `size` has one tile.
    """
    last = max(0, length - size)
    return (*range(0, last, stride), last)


def _should_tile(prep: InputPrepSpec, shape: tuple[int, int], size: int | None) -> bool:
    if size is None or max(shape) <= AUTO_TILING_FACTOR * size:
        return False
    return prep.pad_edges or min(shape) >= size
