"""Prepared requests: the items for the encoder, and the assembly of its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from geobento.schemas.embedding import Classification, ClassificationMeta, Embedding
from geobento.schemas.errors import GeoBentoError
from inference.types import EncodeItem, EncodeResult
from pipeline.assembly import embedding

ItemResult = TypeVar("ItemResult")
PreparedEntry: TypeAlias = "tuple[Sequence[EncodeItem], embedding.ResponseContext] | GeoBentoError"
"""Items for the encoder (one per tile of a region) and the response context, or an error."""


class PreparedRequest(Protocol, Generic[ItemResult]):
    """A request that is ready for the encoder."""

    @property
    def tag(self) -> str:
        """Tag of the model's weights."""

    @property
    def items(self) -> list[EncodeItem]:
        """Inputs of the encoder."""

    def assemble(
        self, results: Sequence[EncodeResult], encode_ms: float = 0
    ) -> list[ItemResult | GeoBentoError]:
        """One answer per input of the request.

        Args:
            results: The encoder's, in order of `items`.
            encode_ms: How long they took.

        Raises:
            GeoBentoError: The request had a single input, and it failed.
        """


@dataclass(frozen=True)
class PreparedEmbeddings:
    """Images, texts or regions, each to become one embedding.

    Attributes:
        tag: Which weights they are for.
        entries: One per image, text or region, in order.
    """

    tag: str
    entries: Sequence[PreparedEntry]

    @property
    def items(self) -> list[EncodeItem]:
        """Inputs of the encoder."""
        return _encode_items(self.entries)

    def assemble(
        self, results: Sequence[EncodeResult], encode_ms: float = 0
    ) -> list[Embedding | GeoBentoError]:
        """One embedding or error per entry."""
        return raise_single_error(_build_embeddings(self.entries, results, encode_ms))


@dataclass(frozen=True)
class PreparedZeroShot:
    """Images to be compared with classes.

    Attributes:
        tag: Which weights it is for.
        images: One entry per image, in order.
        classes: One entry per class, in order.
        logit_scale: Factor on the cosines.
        template: Sentence that the classes were put into.
    """

    tag: str
    images: Sequence[PreparedEntry]
    classes: Sequence[PreparedEntry]
    logit_scale: float
    template: str

    @property
    def items(self) -> list[EncodeItem]:
        """Inputs of the encoder: images, then classes."""
        return _encode_items([*self.images, *self.classes])

    def assemble(
        self, results: Sequence[EncodeResult], encode_ms: float = 0
    ) -> list[Classification | GeoBentoError]:
        """One classification or error per image.

        Raises:
            GeoBentoError: A class failed, or the only image did.
        """
        embeddings = _build_embeddings([*self.images, *self.classes], results, encode_ms)
        images, classes = embeddings[: len(self.images)], embeddings[len(self.images) :]
        vectors = []
        for position, name in enumerate(classes):
            if isinstance(name, GeoBentoError):
                name.field = f"classes.{position}"
                raise name
            vectors.append(name.data)
        stacked = np.stack(vectors)
        return raise_single_error(
            [
                image if isinstance(image, GeoBentoError) else self._classify(image, stacked)
                for image in images
            ]
        )

    def _classify(
        self, image: Embedding, classes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    ) -> Classification | GeoBentoError:
        probabilities = embedding.class_probabilities(image.data, classes, self.logit_scale)
        if isinstance(probabilities, GeoBentoError):
            return probabilities
        meta = image.meta
        return Classification(
            probabilities,
            ClassificationMeta(
                model=meta.model,
                tag=meta.tag,
                variant=meta.variant,
                weights=meta.weights,
                logit_scale=self.logit_scale,
                template=self.template,
                precision=meta.precision,
                preprocessing=meta.preprocessing,
                config=meta.config,
            ),
        )


def _encode_items(entries: Sequence[PreparedEntry]) -> list[EncodeItem]:
    return [item for entry in entries if not isinstance(entry, GeoBentoError) for item in entry[0]]


def _build_embeddings(
    entries: Sequence[PreparedEntry], results: Sequence[EncodeResult], encode_ms: float
) -> list[Embedding | GeoBentoError]:
    remaining = iter(results)
    timing_ms = {"encode": encode_ms}
    return [
        entry
        if isinstance(entry, GeoBentoError)
        else embedding.build_embedding(list(islice(remaining, len(entry[0]))), entry[1], timing_ms)
        for entry in entries
    ]


def raise_single_error(
    results: list[ItemResult | GeoBentoError],
) -> list[ItemResult | GeoBentoError]:
    """The answers of a request, unless there is a single one and it is an error.

    Raises:
        GeoBentoError: That error.
    """
    if len(results) == 1 and isinstance(results[0], GeoBentoError):
        raise results[0]
    return results
