"""From tiles to one grid or one vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geobento.schemas.errors import NoImageryError
from geobento.schemas.sample import PixelGrid
from pipeline.assembly import stitching
from pipeline.planning.tiling import Tiling, tile_starts

Image = NDArray[np.float32]


def tiling(height: int, width: int, size: int, stride: int | None = None) -> Tiling:
    """Tiles over a region."""
    rows, columns = (tile_starts(side, size, stride or size) for side in (height, width))
    return Tiling((height, width), size, rows, columns)


def averaged(image: Image, side: int) -> Image:
    """What a simple model makes of an image (D, H, W): the mean of every square of pixels."""
    depth, height, width = image.shape
    blocks = image.reshape(depth, height // side, side, width // side, side)
    means: Image = blocks.mean(axis=(2, 4)).astype(np.float32)
    return means


def stitched(image: Image, tiles: Tiling, side: int) -> Image:
    """The grid of a region that went through the simple model in tiles."""
    return stitching.stitch_tiles(
        [averaged(tile, side) for tile in tiles.split_array(image)], tiles
    )


def ramp(height: int, width: int) -> Image:
    """Two channels: the row and the column of the middle of every pixel."""
    return (np.indices((height, width)) + 0.5).astype(np.float32)


regions = st.tuples(st.integers(1, 500), st.integers(1, 500))
models = st.tuples(st.integers(1, 16), st.integers(1, 12), st.floats(0.05, 1))
"""Cell side, cells of a tile's side, stride as a share of the tile."""


@given(regions, models)
@settings(deadline=None, max_examples=60)
def test_a_constant_image_stays_constant(
    region: tuple[int, int], model: tuple[int, int, float]
) -> None:
    """At any size, overlap and shift."""
    side, count, share = model
    tiles = tiling(*region, side * count, max(1, int(side * count * share)))
    if len(tiles) > 400:
        return
    result = stitched(np.full((2, *region), 7, np.float32), tiles, side)
    assert (result == 7).all()


@given(regions, models)
@settings(deadline=None, max_examples=60)
def test_a_ramp_shows_no_seam(region: tuple[int, int], model: tuple[int, int, float]) -> None:
    """Every cell holds the ramp of its own position to half a cell, at boundaries too."""
    side, count, share = model
    tiles = tiling(*region, side * count, max(1, int(side * count * share)))
    if len(tiles) > 400 or min(region) < side * count:
        return
    result = stitched(ramp(*region), tiles, side)
    for axis, length in enumerate(region):
        number = result.shape[1 + axis]
        position = (np.arange(number) + 0.5) * length / number
        values = result[axis].max(axis=1 - axis), result[axis].min(axis=1 - axis)
        for value in values:
            assert np.abs(value - position).max() <= side / 2 + 1e-3


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.data())
@settings(deadline=None, max_examples=60)
def test_split_equals_whole(
    side: int, count: int, more_rows: int, more_columns: int, data: st.DataObject
) -> None:
    """Where the cells of tiles coincide with those of the whole, the grids are equal."""
    rows, columns = count + more_rows, count + more_columns
    stride = data.draw(st.integers(1, count)) * side
    numbers = np.random.default_rng(0).integers(0, 9, (3, rows * side, columns * side))
    image = numbers.astype(np.float32)
    whole = averaged(image, side)
    tiles = tiling(rows * side, columns * side, count * side, stride)
    np.testing.assert_array_equal(stitched(image, tiles, side), whole)


@given(regions, models)
@settings(deadline=None, max_examples=60)
def test_every_cell_has_one_owner_that_holds_it(
    region: tuple[int, int], model: tuple[int, int, float]
) -> None:
    """Owners follow each other without a gap, and no tile that is nearer is passed over."""
    side, count, share = model
    size = side * count
    tiles = tiling(*region, size, max(1, int(size * share)))
    for axis, first, length in zip(
        stitching.cell_axes(tiles, count, count), (tiles.rows, tiles.columns), region, strict=True
    ):
        assert (axis.start, axis.end) == (0, length)
        number = len(axis.tile_index)
        centres = (np.arange(number) + 0.5) * length / number
        begins = np.asarray(first)[axis.tile_index]
        assert (begins <= centres).all()
        assert (centres <= begins + size).all()
        distance = np.abs(centres[:, None] - (np.asarray(first) + size / 2))
        assert (distance[np.arange(number), axis.tile_index] <= distance.min(axis=1) + 1e-9).all()
        assert (np.diff(axis.tile_index) >= 0).all()


def test_the_boundary_is_the_middle_of_the_overlap() -> None:
    """300 pixels with tiles of 224: [0, 150) of the first and [150, 300) of the second."""
    tiles = tiling(300, 224, 224)
    first, second = np.zeros((1, 224, 224), np.float32), np.ones((1, 224, 224), np.float32)
    result = stitching.stitch_tiles([first, second], tiles)
    assert result.shape == (1, 300, 224)
    assert result[0, :, 0].tolist() == [0] * 150 + [1] * 150


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_vectors_of_tiles(pooling: str) -> None:
    """The mean counts the area that belongs to a tile, which is less where tiles overlap."""
    tiles = tiling(300, 250, 224, 200)
    assert (tiles.rows, tiles.columns) == ((0, 76), (0, 26))
    vectors = [np.array([value, -value], np.float32) for value in (1, 2, 3, 4)]
    result = stitching.pool_tiles(vectors, tiles, pooling)  # type: ignore[arg-type]
    assert result.dtype == np.float32
    expected = [2.5, -2.5] if pooling == "mean" else [4, -1]
    assert result.tolist() == pytest.approx(expected)


def test_the_area_of_a_tile() -> None:
    """Three tiles in a row of 500 with tiles of 200: 200, 150 and 150 pixels."""
    tiles = tiling(200, 500, 200)
    assert tiles.columns == (0, 200, 300)
    vectors = [np.eye(3, dtype=np.float32)[i] for i in range(3)]
    assert stitching.pool_tiles(vectors, tiles, "mean").tolist() == pytest.approx([0.4, 0.3, 0.3])


@given(regions, models)
@settings(deadline=None, max_examples=40)
def test_areas_add_up(region: tuple[int, int], model: tuple[int, int, float]) -> None:
    """The mean of equal vectors is that vector."""
    side, count, share = model
    tiles = tiling(*region, side * count, max(1, int(side * count * share)))
    if len(tiles) <= 2000:
        result = stitching.pool_tiles([np.full(2, 3, np.float32)] * len(tiles), tiles, "mean")
        assert result.tolist() == pytest.approx([3, 3])


PIXELS = PixelGrid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 300, 448)


def test_where_cells_lie() -> None:
    """Equal cells over the whole region, as many as fit best."""
    made = stitching.stitched_grid(PIXELS, tiling(300, 448, 224), 14, 14)
    assert made.shape == (19, 28)
    assert made.bounds == pytest.approx(PIXELS.bounds)


def test_one_tile_is_the_whole() -> None:
    """Then the grid is the model's own, margin included."""
    whole = PixelGrid(PIXELS.crs, PIXELS.transform, 224, 224)
    tiles = tiling(224, 224, 224)
    assert stitching.stitched_grid(whole, tiles, 14, 14, 1) == whole.cells(14, 14, 1)
    grid = np.random.default_rng(1).normal(size=(5, 14, 14)).astype(np.float32)
    np.testing.assert_array_equal(stitching.stitch_tiles([grid], tiles, 1), grid)


def test_a_padded_tile_has_cells_of_the_region_alone() -> None:
    """What was made of padding is left out, and the cells end where the region does."""
    region = PixelGrid(PIXELS.crs, PIXELS.transform, 96, 224)
    tiles = tiling(96, 224, 224)
    made = stitching.stitched_grid(region, tiles, 14, 14)
    assert made.shape == (6, 14)
    assert made.bounds == pytest.approx(region.bounds)
    grid = np.arange(196, dtype=np.float32).reshape(1, 14, 14)
    np.testing.assert_array_equal(stitching.stitch_tiles([grid], tiles), grid[:, :6])


def test_a_region_in_the_margin() -> None:
    """A region of a pixel still has a cell."""
    region = PixelGrid(PIXELS.crs, PIXELS.transform, 1, 1)
    assert stitching.stitched_grid(region, tiling(1, 1, 32), 2, 2, 1) == region


def test_margins_of_neighbours() -> None:
    """Cells between the margins of two tiles take the nearest cell there is."""
    tiles = tiling(8, 16, 8)
    grids = [np.full((1, 3, 3), value, np.float32) for value in (1, 2)]
    result = stitching.stitch_tiles(grids, tiles, margin=1)
    assert result[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2]


def test_cells_without_data_do_not_count() -> None:
    """The others share what there is; without any there is no vector."""
    grid = np.array([[[1, 2], [np.nan, 6]], [[0, 4], [np.nan, 8]]], np.float32)
    assert stitching.pool_cells(grid, "mean").tolist() == [3, 4]
    assert stitching.pool_cells(grid, "max").tolist() == [6, 8]
    weights = np.array([0, 0.25, 0.5, 0.25], np.float32)
    assert stitching.pool_cells(grid, "mean", weights).tolist() == [4, 6]
    only = np.array([0, 0, 1, 0], np.float32)
    with pytest.raises(NoImageryError, match="inside of the region"):
        stitching.pool_cells(grid, "mean", only)
