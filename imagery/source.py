"""The interface of imagery sources: an image query in, a sample out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from geobento.schemas.sample import Provenance, Sample
from imagery.query import ImageQuery


@dataclass(frozen=True)
class FetchEstimate:
    """The cost of a fetch, known without reading pixels.

    Attributes:
        provenance: The source and the scenes to read. Scenes without a usable pixel of the
            region are included here; a sample leaves them out.
        requests: Lower bound of the files to open or the requests to send.
        bytes: Estimated size of the transferred pixels before compression.
    """

    provenance: Provenance
    requests: int
    bytes: int


class Source(Protocol):
    """A source of imagery. Implementations are thread-safe."""

    @property
    def backend(self) -> str:
        """Value of the public ``backend`` parameter that selects this source."""

    def fetch(self, query: ImageQuery) -> Sample:
        """Fetch composites in the collection's raw units.

        Returns:
            Pixels (C, H, W) for a query of one frame. For several frames (T, C, H, W), without
            the frames that have no valid pixel.

        Raises:
            NoImageryError: The source has no usable pixel for the query.
            ModelError: The source lacks the collection or one of its bands.
            PayloadTooLarge: The query exceeds what the source can deliver.
            SourceError: The source failed; the message names it.
        """

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        """Find the scenes of a fetch without reading pixels.

        Raises:
            NoImageryError: The source has no scene for the query.
            ModelError: The source lacks the collection or one of its bands.
            SourceError: The source failed; the message names it.
        """
