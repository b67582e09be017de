r"""The grid of a place as a picture: its first three principal components beside the true colour.

    python examples/principal_components.py out.jpg --lon 34.066 --lat -3.401 \
        --start 2023-06-01 --end 2023-07-01

Works in-process, or asks the server that `GEOBENTO_URL` names. What is alike has like colours; the
colours themselves mean nothing.

Tokens of a vision transformer carry where in its input they are, in Galileo's case more than what
they show. So the place is read in tiles, and what cells at the same position in all tiles have in
common is taken off before the components are computed.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geobento import (
    FetchSpec,
    InputPrepSpec,
    OutputSpec,
    PointBuffer,
    TemporalSpec,
    get_embedding,
    inspect_patch,
)

IMAGE_SIZE = 384
"""Of each of the two pictures, pixels."""
STRETCH_PERCENTILES = (2, 98)
"""Percentiles of a component that become dark and bright."""


def subtract_position_mean(grid: NDArray[np.float32], cells_per_tile: int) -> NDArray[np.float32]:
    """A grid less the mean over its tiles.

    Args:
        grid: (D, H, W) of tiles that do not overlap.
        cells_per_tile: Of a tile, along a side.
    """
    tiles = grid.reshape(
        len(grid), -1, cells_per_tile, grid.shape[2] // cells_per_tile, cells_per_tile
    )
    left: NDArray[np.float32] = tiles - tiles.mean(axis=(1, 3), keepdims=True)
    return left.reshape(grid.shape)


def principal_components(grid: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The three directions in which the vectors of a grid differ most, as colours.

    Args:
        grid: (D, H, W).

    Returns:
        (H, W, 3), the first component red, the second green, the third blue.
    """
    vectors = grid.reshape(len(grid), -1).T
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    scores = centred @ directions[:3].T
    low, high = np.percentile(scores, STRETCH_PERCENTILES, axis=0)
    shown = np.clip((scores - low) / np.maximum(high - low, 1e-12), 0, 1) * 255
    colours: NDArray[np.uint8] = shown.round().astype(np.uint8)
    return colours.reshape(*grid.shape[1:], 3)


def side_by_side(true_color: Image.Image, components: NDArray[np.uint8]) -> Image.Image:
    """Both pictures, side by side."""
    both = Image.new("RGB", (2 * IMAGE_SIZE, IMAGE_SIZE))
    both.paste(
        true_color.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS),
        (0, 0),
    )
    cells = Image.fromarray(components).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.NEAREST)
    both.paste(cells, (IMAGE_SIZE, 0))
    return both


def main() -> None:
    """Ask, and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="galileo")
    parser.add_argument("--lon", type=float, required=True)
    parser.add_argument("--lat", type=float, required=True)
    parser.add_argument("--buffer-m", type=float, default=960)
    parser.add_argument("--tile", type=int, default=16, help="side of a tile, pixels")
    parser.add_argument("--patch-size", type=int, default=2, help="side of a cell, pixels")
    parser.add_argument("--start", required=True)
    parser.add_argument("--end", required=True)
    parser.add_argument("--cloudy-pct", type=float, default=30)
    asked = parser.parse_args()
    where: dict[str, Any] = {
        "spatial": PointBuffer(asked.lon, asked.lat, asked.buffer_m),
        "temporal": TemporalSpec.range(asked.start, asked.end),
        "fetch": FetchSpec(cloudy_pct=asked.cloudy_pct),
    }
    pixels = inspect_patch(asked.model, **where)
    grid = get_embedding(
        asked.model,
        output=OutputSpec.grid(),
        input_prep=InputPrepSpec(mode="tile", tile_size=asked.tile),
        model_config={"patch_size": asked.patch_size},
        **where,
    )
    ground = subtract_position_mean(grid.data, asked.tile // asked.patch_size)
    picture = Image.open(io.BytesIO(pixels.quicklook))
    side_by_side(picture, principal_components(ground)).save(asked.out)
    print(f"{asked.out}: {grid.data.shape} from {grid.meta.source}")


if __name__ == "__main__":
    main()
