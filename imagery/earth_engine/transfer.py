"""How pixels travel from Earth Engine: as floats, or whole numbers and their halves as 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import ee
import numpy as np
from numpy.typing import NDArray

NODATA = -1e30
"""Stands for pixels without data, which the transfer format has no sign for."""
UINT16_NODATA, UINT16_OVERFLOW, UINT16_UNDERFLOW = 65_535, 65_534, 0
"""Of 16 bits: no data, and numbers that do not fit."""
MAX_STEPS = UINT16_OVERFLOW - UINT16_UNDERFLOW - 2
"""Between the least and the greatest number that fits."""


class PixelEncoding(Protocol):
    """A form of pixels. Pure."""

    @property
    def pixel_bytes(self) -> int:
        """What a pixel of a band counts for: itself, and the byte of its mask."""

    def encode(self, image: ee.Image) -> ee.Image:
        """The image in this form."""

    def decode(self, pixels: NDArray[Any]) -> NDArray[np.float32] | None:
        """Its numbers, `NO_DATA` in the gaps; None: they do not fit this form."""


@dataclass(frozen=True)
class Float32Encoding:
    """Any numbers."""

    pixel_bytes: int = 4 + 1

    def encode(self, image: ee.Image) -> ee.Image:
        """The image in this form."""
        floats: ee.Image = image.unmask(NODATA, False).toFloat()
        return floats

    def decode(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Its numbers, see `Transfer`."""
        return pixels.astype(np.float32)


@dataclass(frozen=True)
class ScaledUint16Encoding:
    """Numbers on a ladder, by their step.

    Attributes:
        min_value: Number of the lowest step.
        steps_per_unit: Steps from one whole number to the next.
    """

    min_value: int
    steps_per_unit: int
    pixel_bytes: int = 2 + 1

    def encode(self, image: ee.Image) -> ee.Image:
        """The image in this form."""
        # In integers of the image's own size, products could overflow.
        steps = image.toFloat().multiply(self.steps_per_unit).add(self._offset)
        encoded: ee.Image = (
            steps.clamp(UINT16_UNDERFLOW, UINT16_OVERFLOW).unmask(UINT16_NODATA, False).toUint16()
        )
        return encoded

    def decode(self, pixels: NDArray[Any]) -> NDArray[np.float32] | None:
        """Its numbers, see `Transfer`."""
        if ((pixels == UINT16_UNDERFLOW) | (pixels == UINT16_OVERFLOW)).any():
            return None
        numbers = (pixels.astype(np.float32) - self._offset) / self.steps_per_unit
        return np.where(pixels == UINT16_NODATA, np.float32(NODATA), numbers)

    @property
    def _offset(self) -> int:
        return UINT16_UNDERFLOW + 1 - self.steps_per_unit * self.min_value


def choose_encoding(integer_range: tuple[int, int] | None, *, half_steps: bool) -> PixelEncoding:
    """The smallest form that nearly all pixels of a collection fit. Pure.

    Args:
        integer_range: Between these lie its numbers, which are whole; None: they need not be.
        half_steps: Whether they are means of two.
    """
    per_one = 2 if half_steps else 1
    if integer_range is None or (integer_range[1] - integer_range[0]) * per_one > MAX_STEPS:
        return Float32Encoding()
    return ScaledUint16Encoding(integer_range[0], per_one)
