"""The query of an imagery source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from geobento.schemas.sample import PixelGrid
from geobento.schemas.specs import SensorSpec


@dataclass(frozen=True)
class ImageQuery:
    """Everything that determines the pixels of one fetch.

    Attributes:
        sensor: Collection (Earth Engine id), bands, scale, cloud filter, fill value, compositing.
        grid: Output pixel grid. The scenes' own grids do not matter.
        start: Start of the time window, UTC, inclusive.
        end: End of the time window, UTC, exclusive.
        modality: Name of the sample's modality, for the model.
        frames: Number of equal time bins in the window. Each gets its own composite.
    """

    sensor: SensorSpec
    grid: PixelGrid
    start: datetime
    end: datetime
    modality: str
    frames: int = 1
