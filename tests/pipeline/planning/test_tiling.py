"""Tiles that cover a region."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobento.schemas.errors import GeoBentoError, ModelError, SpecError
from geobento.schemas.specs import InputPrepSpec
from pipeline.planning.tiling import DEFAULT_MAX_TILES, Tiling, choose_tiling, tile_starts

lengths, sizes, parts = st.integers(1, 700), st.integers(1, 300), st.floats(0.01, 1)


def tiled(shape: tuple[int, int], size: int | None = 224, **prep: Any) -> Tiling:
    """The tiles of a region that is tiled."""
    made = choose_tiling(InputPrepSpec("tile", **prep), shape, size, "m")
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("length", "size", "stride", "expected"),
    [
        (300, 224, 224, (0, 76)),
        (224, 224, 224, (0,)),
        (225, 224, 224, (0, 1)),
        (448, 224, 224, (0, 224)),
        (449, 224, 224, (0, 224, 225)),
        (500, 224, 112, (0, 112, 224, 276)),
        (100, 224, 224, (0,)),
    ],
)
def test_the_last_tile_is_shifted(
    length: int, size: int, stride: int, expected: tuple[int, ...]
) -> None:
    """It ends at the edge; no tile reaches beyond a region that is as large as one."""
    assert tile_starts(length, size, stride) == expected


@given(lengths, sizes, parts)
def test_tiles_cover_without_gaps(length: int, size: int, part: float) -> None:
    """Every pixel lies in a tile, and no tile is there twice."""
    stride = max(1, int(size * part))
    result = tile_starts(length, size, stride)
    covered = np.zeros(max(length, size), int)
    for start in result:
        covered[start : start + size] += 1
    assert covered[:length].all()
    assert len(set(result)) == len(result)
    assert result[-1] + size == max(length, size)


@given(lengths, lengths, st.integers(20, 300))
def test_cut_and_put_back(height: int, width: int, size: int) -> None:
    """The tiles hold the pixels of the region where the tiling says they lie."""
    image = np.arange(height * width).reshape(1, height, width)
    tiling = tiled((height, width), size, max_tiles=5000)
    back = np.full_like(image, -1)
    tiles = tiling.split_array(image)
    assert len(tiles) == len(tiling)
    for (row, column), tile in zip(tiling.offsets, tiles, strict=True):
        assert tile.shape == (1, size, size)
        inside = back[:, row : row + size, column : column + size]
        inside[...] = tile[:, : inside.shape[1], : inside.shape[2]]
    assert (back == image).all()


def test_a_small_region_is_padded_with_its_edge() -> None:
    """To the south and the east, so that a flat region stays flat."""
    (tile,) = tiled((2, 3), 4).split_array(np.array([[1, 2, 3], [4, 5, 6]]))
    assert tile.tolist() == [[1, 2, 3, 3], [4, 5, 6, 6], [4, 5, 6, 6], [4, 5, 6, 6]]


def test_a_mask_is_cut_like_its_pixels() -> None:
    """Whatever the axes before the last two."""
    tiling = tiled((300, 230))
    assert [tile.shape for tile in tiling.split_array(np.ones((2, 3, 300, 230)))] == [
        (2, 3, 224, 224)
    ] * 4
    assert [tile.shape for tile in tiling.split_array(np.ones((300, 230), bool))] == [
        (224, 224)
    ] * 4


@pytest.mark.parametrize(
    ("prep", "shape", "size", "tiles"),
    [
        (InputPrepSpec("resize"), (5000, 5000), 224, None),
        (InputPrepSpec("resize"), (5000, 5000), None, None),
        (InputPrepSpec("tile"), (300, 224), 224, 2),
        (InputPrepSpec("tile"), (10, 10), 224, 1),
        (InputPrepSpec("tile", 100), (300, 300), None, 9),
        (InputPrepSpec("tile", 100, 50), (300, 100), 224, 5),
        (InputPrepSpec("tile", pad_edges=False), (224, 224), 224, 1),
        (InputPrepSpec("auto"), (336, 336), 224, None),
        (InputPrepSpec("auto"), (337, 224), 224, 2),
        (InputPrepSpec("auto"), (337, 100), 224, 2),
        (InputPrepSpec("auto", pad_edges=False), (337, 100), 224, None),
        (InputPrepSpec("auto"), (5000, 5000), None, None),
        (InputPrepSpec("auto", 64), (128, 128), None, 4),
    ],
)
def test_whether_to_tile(
    prep: InputPrepSpec, shape: tuple[int, int], size: int | None, tiles: int | None
) -> None:
    """`auto` tiles regions more than half as large again as the input."""
    made = choose_tiling(prep, shape, size, "m")
    assert (made and len(made)) == tiles


@pytest.mark.parametrize(
    ("prep", "shape", "size", "error", "field"),
    [
        (InputPrepSpec("tile"), (300, 300), None, ModelError, "tile_size"),
        (InputPrepSpec("tile", 100, 101), (300, 300), 224, SpecError, "tile_stride"),
        (InputPrepSpec("tile", tile_stride=225), (300, 300), 224, SpecError, "tile_stride"),
        (InputPrepSpec("tile", pad_edges=False), (300, 223), 224, SpecError, "pad_edges"),
        (InputPrepSpec("tile", max_tiles=3), (300, 300), 224, SpecError, "max_tiles"),
        (InputPrepSpec("tile", 1), (40, DEFAULT_MAX_TILES // 40 + 1), 224, SpecError, "max_tiles"),
        (InputPrepSpec("auto", max_tiles=1), (500, 500), 224, SpecError, "max_tiles"),
    ],
)
def test_tilings_that_are_refused(
    prep: InputPrepSpec,
    shape: tuple[int, int],
    size: int | None,
    error: type[GeoBentoError],
    field: str,
) -> None:
    """Gaps, too many tiles, padding that is not wanted, no size to tile to."""
    with pytest.raises(error, match="accepted") as caught:
        choose_tiling(prep, shape, size, "m")
    assert type(caught.value) is error
    assert caught.value.field == f"input_prep.{field}"
