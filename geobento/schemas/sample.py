"""What imagery gives a model: pixels in raw sensor units, and where and when they are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PixelGrid:
    """Where every pixel lies on the ground: north up, square to the axes of its CRS.

    Attributes:
        crs: Authority code, such as ``EPSG:32736``, or WKT where there is none.
        transform: ``(a, b, c, d, e, f)``: ``x = a * col + b * row + c``,
            ``y = d * col + e * row + f``; column and row count from the outer corner of the
            first pixel, so ``(c, f)`` is the north-western corner of the grid.
        height: Rows.
        width: Columns.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    height: int
    width: int

    def __post_init__(self) -> None:
        _, b, _, d, e, _ = self.transform
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a pixel grid needs at least one pixel, got {self.shape}")
        if b or d or self.transform[0] <= 0 or e >= 0:
            raise ValueError(f"a pixel grid is north up and unrotated, got {self.transform}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def resolution(self) -> tuple[float, float]:
        """Pixel width and height in units of the CRS, both positive."""
        return self.transform[0], -self.transform[4]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the outer edges, in units of the CRS."""
        a, _, left, _, e, top = self.transform
        return left, top + e * self.height, left + a * self.width, top

    def cells(self, height: int, width: int, margin: float = 0) -> PixelGrid:
        """The grid of `height` x `width` equal cells over this grid less `margin` pixels a side.

        This is how the token grid of a model is placed on the ground.
        """
        a, _, left, _, e, top = self.transform
        return PixelGrid(
            self.crs,
            (
                a * (self.width - 2 * margin) / width,
                0.0,
                left + a * margin,
                0.0,
                e * (self.height - 2 * margin) / height,
                top + e * margin,
            ),
            height,
            width,
        )


@dataclass(frozen=True)
class Scene:
    """One acquisition that went into a sample.

    Attributes:
        id: Id in its catalog.
        time: When it was taken.
        cloud_pct: Cloud share of the whole scene, percent.
        offset_applied: Whether the offset of a newer processing was added to its raw values, by
            the source or here.
        processing: Baseline of its processing, as its catalog says; None: it does not.
    """

    id: str
    time: datetime
    cloud_pct: float | None = None
    offset_applied: bool = False
    processing: str | None = None


@dataclass(frozen=True)
class Provenance:
    """Which source answered, and from what.

    Attributes:
        backend: Word of the public ``backend`` parameter: ``gee``, ``stac`` or ``demo``; ``user``
            for pixels that came with the request.
        source: The catalog, project or archive, as named in its own metadata.
        scenes: What the pixels were made from, oldest first.
        notice: What a reader must know, such as that the landscape is invented.
    """

    backend: str
    source: str
    scenes: tuple[Scene, ...] = ()
    notice: str | None = None


@dataclass(frozen=True)
class Sample:
    """Pixels of one place or one picture, as the sensor gives them.

    Attributes:
        pixels: ``(C, H, W)``, or ``(T, C, H, W)`` for a time series; the collection's own
            units (Sentinel-2: digital numbers; Sentinel-1: linear power; pictures: uint8).
        bands: Names of the C channels, in order.
        modality: What the model calls this kind of input: ``rgb``, ``s2`` ...
        valid: ``(H, W)`` or ``(T, H, W)``; False where no scene had data and `pixels` holds
            the fill value. None: every pixel is data.
        grid: Where the pixels lie; None for a picture.
        times: Acquisition times: those of all scenes of one image; of a time series one per frame,
            the middle of its scenes' times.
        parts: Of a time series that was fetched: which parts of the window the frames show, from
            0; parts without any usable pixel are left out.
        provenance: Where the pixels came from; None for a picture.
        extras: Further inputs beside this one, by modality.
        cached: Whether it was kept from an earlier fetch; None: nothing keeps samples here.
    """

    pixels: NDArray[Any]
    bands: tuple[str, ...]
    modality: str
    valid: NDArray[np.bool_] | None = None
    grid: PixelGrid | None = None
    times: tuple[datetime, ...] = ()
    parts: tuple[int, ...] = ()
    provenance: Provenance | None = None
    extras: Mapping[str, Sample] = field(default_factory=dict)
    cached: bool | None = None

    def without_pixels(self) -> Sample:
        """What there is to know beside the values; of these the height and width."""
        extras = {name: extra.without_pixels() for name, extra in self.extras.items()}
        return replace(self, pixels=np.empty((0, *self.pixels.shape[-2:])), extras=extras)


def mid_time(times: Sequence[datetime]) -> datetime:
    """Halfway between the first and the last of some times."""
    first = min(times)
    return first + (max(times) - first) / 2
