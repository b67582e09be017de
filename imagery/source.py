"""What every imagery source offers: a query in, a sample out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from geobento.sample import PixelGrid, Sample
from geobento.specs import SensorSpec


@dataclass(frozen=True)
class ImageQuery:
    """Everything that determines the pixels of one fetch.

    Attributes:
        sensor: Collection (Earth Engine id), bands, scale, cloud filter, fill, composite.
        grid: The pixels wanted, whatever lattice the scenes have.
        start: First instant inside the window, UTC.
        end: First instant outside the window, UTC.
        modality: Name that the sample carries to the model.
    """

    sensor: SensorSpec
    grid: PixelGrid
    start: datetime
    end: datetime
    modality: str


class Source(Protocol):
    """Where pixels come from. Implementations are safe to call from several threads."""

    @property
    def backend(self) -> str:
        """The word of the public ``backend`` parameter."""

    def fetch(self, query: ImageQuery) -> Sample:
        """Fetch one composite of shape (C, H, W) in the collection's raw units.

        Raises:
            NoImageryError: The source has no usable pixel for the query.
            ModelError: The source lacks the collection or a band of it.
            PayloadTooLarge: The source cannot give so many pixels of so many scenes.
            SourceError: The source failed; the message names it.
        """
