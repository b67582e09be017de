"""What every imagery source offers: a query in, a sample out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from geobento.schemas.sample import PixelGrid, Provenance, Sample
from geobento.schemas.specs import SensorSpec


@dataclass(frozen=True)
class ImageQuery:
    """Everything that determines the pixels of one fetch.

    Attributes:
        sensor: Collection (Earth Engine id), bands, scale, cloud filter, fill, composite.
        grid: The pixels wanted, whatever lattice the scenes have.
        start: First instant inside the window, UTC.
        end: First instant outside the window, UTC.
        modality: Name that the sample carries to the model.
        frames: Into how many equal parts the window goes, each with a composite of its own.
    """

    sensor: SensorSpec
    grid: PixelGrid
    start: datetime
    end: datetime
    modality: str
    frames: int = 1


@dataclass(frozen=True)
class FetchEstimate:
    """What a fetch would be made from, as far as can be told without a pixel.

    Attributes:
        provenance: The source and the scenes that would be read. Those that turn out to have no
            usable pixel of the place are among them; a sample does not name them.
        requests: Files to open, or requests to send, at least.
        bytes: Size of the pixels that these carry, before compression; an estimate.
    """

    provenance: Provenance
    requests: int
    bytes: int


class Source(Protocol):
    """Where pixels come from. Implementations are safe to call from several threads."""

    @property
    def backend(self) -> str:
        """The word of the public ``backend`` parameter."""

    def fetch(self, query: ImageQuery) -> Sample:
        """Fetch composites in the collection's raw units.

        Returns:
            One image (C, H, W), or, where the query asks for several frames, those of them that
            show anything, (T, C, H, W).

        Raises:
            NoImageryError: The source has no usable pixel for the query.
            ModelError: The source lacks the collection or a band of it.
            PayloadTooLarge: The source cannot give so many pixels of so many scenes.
            SourceError: The source failed; the message names it.
        """

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        """Look for the scenes of a fetch, and read no pixel.

        Raises:
            NoImageryError: The source has no scene for the query.
            ModelError: The source lacks the collection or a band of it.
            SourceError: The source failed; the message names it.
        """
