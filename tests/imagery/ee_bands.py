"""Bands and grids of Earth Engine images, evaluated on the worlds of tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.sample import PixelGrid
from tests.imagery.world import WorldScene


class Refusal(Exception):
    """An error that Earth Engine answers with 400."""


def parse_grid(given: dict[str, Any]) -> PixelGrid:
    size, affine = given["dimensions"], given["affineTransform"]
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    a, b, c, d, e, f = (float(affine.get(name, 0)) for name in names)
    return PixelGrid(given["crsCode"], (a, b, c, d, e, f), size["height"], size["width"])


@dataclass(frozen=True)
class Band:
    """Numbers and where they are data; with the scene that they are straight from, if so."""

    values: NDArray[Any]
    mask: NDArray[np.bool_]
    origin: tuple[WorldScene, str] | None = None


Image = dict[str, Band]


@dataclass(frozen=True)
class SlopeScene:
    """The slope of a scene's heights, like a scene."""

    scene: WorldScene
    heights: str

    @property
    def grid(self) -> PixelGrid:
        return self.scene.grid

    def has_data(self) -> NDArray[np.bool_]:
        return self.scene.has_data()

    def band(self, name: str) -> NDArray[np.float64]:
        down, across = np.gradient(self.scene.band(self.heights), *self.grid.resolution[::-1])
        return np.asarray(np.degrees(np.arctan(np.hypot(down, across))))


class LazyImage(dict[str, Band]):
    """The bands of a scene, read when asked for."""

    def __init__(self, read: Callable[[str], Band], index: str) -> None:
        super().__init__()
        self._read = read
        self.index = index

    def __missing__(self, name: str) -> Band:
        return self._read(name)


def nearest_index(positions: NDArray[Any], size: int) -> NDArray[np.int64]:
    return np.asarray(np.clip(np.floor(positions), 0, size - 1), np.int64)


def bilinear(band: NDArray[Any], columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    height, width = band.shape
    right, down = columns - np.floor(columns), rows - np.floor(rows)
    corners = [
        band[nearest_index(rows + row, height), nearest_index(columns + column, width)]
        * (down if row else 1 - down)
        * (right if column else 1 - right)
        for row in (0, 1)
        for column in (0, 1)
    ]
    return np.asarray(sum(corners))


def matched(image: Image, to: Image) -> Image:
    """An image's bands under the names of another's: one for all, or one for each."""
    bands = list(image.values())
    return dict(zip(to, bands * len(to) if len(bands) == 1 else bands, strict=True))
