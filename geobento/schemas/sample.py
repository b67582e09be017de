"""Samples: pixels in raw sensor units with their grid, times and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PixelGrid:
    """A georeferenced grid of pixels: north up, along the axes of its CRS.

    Attributes:
        crs: Authority code, such as ``EPSG:32736``, or WKT if it has none.
        transform: ``(a, b, c, d, e, f)``: ``x = a * col + b * row + c``,
            ``y = d * col + e * row + f``; column and row count from the outer corner of the
            first pixel, so ``(c, f)`` is the north-western corner of the grid.
        height: Number of rows.
        width: Number of columns.
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

        It georeferences the token grid of a model.
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
    """A scene of a sample.

    Attributes:
        id: Id in its catalog.
        time: Acquisition time.
        cloud_pct: Cloud cover of the whole scene, percent.
        offset_applied: Whether the offset of newer processing baselines was added to its raw
            values, by the source or here.
        processing: Processing baseline from its catalog; None: unknown.
    """

    id: str
    time: datetime
    cloud_pct: float | None = None
    offset_applied: bool = False
    processing: str | None = None


@dataclass(frozen=True)
class Provenance:
    """Source of a sample.

    Attributes:
        backend: Value of the public ``backend`` parameter: ``gee``, ``stac`` or ``demo``; ``user``
            for pixels that came with the request.
        source: The catalog, project or archive, as its own metadata names it.
        scenes: Scenes of the pixels, oldest first.
        notice: Notice for readers, such as that the landscape is invented.
    """

    backend: str
    source: str
    scenes: tuple[Scene, ...] = ()
    notice: str | None = None


@dataclass(frozen=True)
class Sample:
    """Pixels of one region or one image, in raw sensor units.

    Attributes:
        pixels: ``(C, H, W)``, or ``(T, C, H, W)`` for a time series; the collection's own
            units (Sentinel-2: digital numbers; Sentinel-1: linear power; images: uint8).
        bands: Names of the C channels, in order.
        modality: Modality of the model: ``rgb``, ``s2`` ...
        valid: ``(H, W)`` or ``(T, H, W)``; False if no scene has data and `pixels` holds the fill
            value. None: every pixel has data.
        grid: Grid of the pixels; None for an image.
        times: Acquisition times: of all scenes of one composite; for a time series one per frame,
            the middle of its scenes' times.
        parts: For a fetched time series: indices of the frames within the window, from 0; frames
            without any usable pixel are left out.
        provenance: Source of the pixels; None for an image.
        extras: Samples of auxiliary modalities, by modality.
        cached: Whether it came from the cache; None: there is no cache.
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
        """A copy with empty pixels of the same height and width."""
        extras = {name: extra.without_pixels() for name, extra in self.extras.items()}
        return replace(self, pixels=np.empty((0, *self.pixels.shape[-2:])), extras=extras)


def mid_time(times: Sequence[datetime]) -> datetime:
    """The middle between the first and the last time."""
    first = min(times)
    return first + (max(times) - first) / 2
