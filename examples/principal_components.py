r"""The grid of a region as an image: its first three principal components beside the true color.

    python examples/principal_components.py out.jpg --lon 34.066 --lat -3.401 \
        --start 2023-06-01 --end 2023-07-01

Computes in the process, or asks the server of `GEOBENTO_URL`. Similar vectors have similar colors;
the colors themselves mean nothing.

Tokens of a vision transformer encode their position in the input, in Galileo's case more than what
they show. So the region is read in tiles, and the mean over all tiles of the cells at one position
is subtracted before the components are computed.
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
"""Side of each of the two images, pixels."""
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
    residual: NDArray[np.float32] = tiles - tiles.mean(axis=(1, 3), keepdims=True)
    return residual.reshape(grid.shape)


def principal_components(grid: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The first three principal components of the vectors of a grid, as colors.

    Args:
        grid: (D, H, W).

    Returns:
        (H, W, 3), the first component red, the second green, the third blue.
    """
    vectors = grid.reshape(len(grid), -1).T
    centered = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    scores = centered @ directions[:3].T
    low, high = np.percentile(scores, STRETCH_PERCENTILES, axis=0)
    stretched = np.clip((scores - low) / np.maximum(high - low, 1e-12), 0, 1) * 255
    colors: NDArray[np.uint8] = stretched.round().astype(np.uint8)
    return colors.reshape(*grid.shape[1:], 3)


def side_by_side(true_color: Image.Image, components: NDArray[np.uint8]) -> Image.Image:
    """Both images, side by side."""
    both = Image.new("RGB", (2 * IMAGE_SIZE, IMAGE_SIZE))
    both.paste(
        true_color.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS),
        (0, 0),
    )
    cells = Image.fromarray(components).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.NEAREST)
    both.paste(cells, (IMAGE_SIZE, 0))
    return both


def main() -> None:
    """Write the image."""
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
    arguments = parser.parse_args()
    request: dict[str, Any] = {
        "spatial": PointBuffer(arguments.lon, arguments.lat, arguments.buffer_m),
        "temporal": TemporalSpec.range(arguments.start, arguments.end),
        "fetch": FetchSpec(cloudy_pct=arguments.cloudy_pct),
    }
    pixels = inspect_patch(arguments.model, **request)
    grid = get_embedding(
        arguments.model,
        output=OutputSpec.grid(),
        input_prep=InputPrepSpec(mode="tile", tile_size=arguments.tile),
        model_config={"patch_size": arguments.patch_size},
        **request,
    )
    residual = subtract_position_mean(grid.data, arguments.tile // arguments.patch_size)
    true_color = Image.open(io.BytesIO(pixels.quicklook))
    side_by_side(true_color, principal_components(residual)).save(arguments.out)
    print(f"{arguments.out}: {grid.data.shape} from {grid.meta.source}")


if __name__ == "__main__":
    main()
