"""Encodings of transferred pixels: float32, or integers and half integers as uint16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import ee
import numpy as np
from numpy.typing import NDArray

NODATA = -1e30
"""Marks pixels without data; the transfer format has no mask."""
UINT16_NODATA, UINT16_OVERFLOW, UINT16_UNDERFLOW = 65_535, 65_534, 0
"""Reserved uint16 values: no data, and values outside the range."""
MAX_STEPS = UINT16_OVERFLOW - UINT16_UNDERFLOW - 2
"""Steps between the smallest and the largest value that fits."""


class PixelEncoding(Protocol):
    """An encoding of pixels. Pure."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel of one band, with the byte of its mask."""

    def encode(self, image: ee.Image) -> ee.Image:
        """Encode an image, on the server."""

    def decode(self, pixels: NDArray[Any]) -> NDArray[np.float32] | None:
        """Decode received pixels; `NODATA` marks gaps. None if a value did not fit the encoding."""


@dataclass(frozen=True)
class Float32Encoding:
    """Float32, for any values."""

    pixel_bytes: int = 4 + 1

    def encode(self, image: ee.Image) -> ee.Image:
        """Encode an image, on the server."""
        floats: ee.Image = image.unmask(NODATA, False).toFloat()
        return floats

    def decode(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Decode received pixels, see `PixelEncoding`."""
        return pixels.astype(np.float32)


@dataclass(frozen=True)
class ScaledUint16Encoding:
    """Integers or fractions of them, as uint16 steps above a minimum.

    Attributes:
        min_value: Value of the lowest step.
        steps_per_unit: Steps between consecutive integers.
        pixel_bytes: Bytes of a pixel of one band, with the byte of its mask.
    """

    min_value: int
    steps_per_unit: int
    pixel_bytes: int = 2 + 1

    def encode(self, image: ee.Image) -> ee.Image:
        """Encode an image, on the server."""
        # The product could overflow the image's own integer type.
        steps = image.toFloat().multiply(self.steps_per_unit).add(self._offset)
        encoded: ee.Image = (
            steps.clamp(UINT16_UNDERFLOW, UINT16_OVERFLOW).unmask(UINT16_NODATA, False).toUint16()
        )
        return encoded

    def decode(self, pixels: NDArray[Any]) -> NDArray[np.float32] | None:
        """Decode received pixels, see `PixelEncoding`."""
        if ((pixels == UINT16_UNDERFLOW) | (pixels == UINT16_OVERFLOW)).any():
            return None
        values = (pixels.astype(np.float32) - self._offset) / self.steps_per_unit
        return np.where(pixels == UINT16_NODATA, np.float32(NODATA), values)

    @property
    def _offset(self) -> int:
        return UINT16_UNDERFLOW + 1 - self.steps_per_unit * self.min_value


def choose_encoding(integer_range: tuple[int, int] | None, *, half_steps: bool) -> PixelEncoding:
    """The smallest encoding that fits nearly all pixels of a collection. Pure.

    Args:
        integer_range: Range of the values, if they are integers; None for other values.
        half_steps: Whether means of two values, and so half integers, occur.
    """
    steps_per_unit = 2 if half_steps else 1
    if integer_range is None or (integer_range[1] - integer_range[0]) * steps_per_unit > MAX_STEPS:
        return Float32Encoding()
    return ScaledUint16Encoding(integer_range[0], steps_per_unit)
