"""How pixels travel from Earth Engine: as floats, or whole numbers and their halves as 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import ee
import numpy as np
from numpy.typing import NDArray

NO_DATA = -1e30
"""Stands for pixels without data, which the transfer format has no sign for."""
GAP, ABOVE, BELOW = 65_535, 65_534, 0
"""Of 16 bits: no data, and numbers that do not fit."""
MOST_STEPS = ABOVE - BELOW - 2
"""Between the least and the greatest number that fits."""


class Transfer(Protocol):
    """A form of pixels. Pure."""

    @property
    def pixel_bytes(self) -> int:
        """What a pixel of a band counts for: itself, and the byte of its mask."""

    def encoded(self, image: ee.Image) -> ee.Image:
        """The image in this form."""

    def decoded(self, pixels: NDArray[Any]) -> NDArray[np.float32] | None:
        """Its numbers, `NO_DATA` in the gaps; None: they do not fit this form."""


@dataclass(frozen=True)
class Floats:
    """Any numbers."""

    pixel_bytes: int = 4 + 1

    def encoded(self, image: ee.Image) -> ee.Image:
        """The image in this form."""
        floats: ee.Image = image.unmask(NO_DATA, False).toFloat()
        return floats

    def decoded(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Its numbers, see `Transfer`."""
        return pixels.astype(np.float32)


@dataclass(frozen=True)
class Steps:
    """Numbers on a ladder, by their step.

    Attributes:
        least: Number of the lowest step.
        per_one: Steps from one whole number to the next.
    """

    least: int
    per_one: int
    pixel_bytes: int = 2 + 1

    def encoded(self, image: ee.Image) -> ee.Image:
        """The image in this form."""
        # In integers of the image's own size, products could overflow.
        steps = image.toFloat().multiply(self.per_one).add(self._lowest)
        encoded: ee.Image = steps.clamp(BELOW, ABOVE).unmask(GAP, False).toUint16()
        return encoded

    def decoded(self, pixels: NDArray[Any]) -> NDArray[np.float32] | None:
        """Its numbers, see `Transfer`."""
        if ((pixels == BELOW) | (pixels == ABOVE)).any():
            return None
        numbers = (pixels.astype(np.float32) - self._lowest) / self.per_one
        return np.where(pixels == GAP, np.float32(NO_DATA), numbers)

    @property
    def _lowest(self) -> int:
        return BELOW + 1 - self.per_one * self.least


def transfer(whole: tuple[int, int] | None, *, halves: bool) -> Transfer:
    """The smallest form that nearly all pixels of a collection fit. Pure.

    Args:
        whole: Between these lie its numbers, which are whole; None: they need not be.
        halves: Whether they are means of two.
    """
    per_one = 2 if halves else 1
    if whole is None or (whole[1] - whole[0]) * per_one > MOST_STEPS:
        return Floats()
    return Steps(whole[0], per_one)
