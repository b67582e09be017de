"""A request between its two halves: what the encoder gets, and what becomes of its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from geobento.schemas.embedding import Classification, ClassificationMeta, Embedding
from geobento.schemas.errors import GeoBentoError
from inference.batches import EncodeItem, EncodeResult
from pipeline.assembly import embedding

Answer = TypeVar("Answer")
Entry: TypeAlias = "tuple[Sequence[EncodeItem], embedding.Context] | GeoBentoError"
"""What to encode (several items for a place in tiles) and how to answer, or the error that is the
answer."""


class Job(Protocol, Generic[Answer]):
    """A request after its first half."""

    @property
    def tag(self) -> str:
        """Which weights it is for."""

    @property
    def items(self) -> list[EncodeItem]:
        """What the encoder gets."""

    def answers(
        self, results: Sequence[EncodeResult], encode_ms: float = 0
    ) -> list[Answer | GeoBentoError]:
        """One answer per input of the request.

        Args:
            results: The encoder's, in order of `items`.
            encode_ms: How long they took.

        Raises:
            GeoBentoError: The request had a single input, and it failed.
        """


@dataclass(frozen=True)
class EmbeddingJob:
    """Pictures, texts or places, each to become one embedding.

    Attributes:
        tag: Which weights they are for.
        entries: One per picture, text or place, in order.
    """

    tag: str
    entries: Sequence[Entry]

    @property
    def items(self) -> list[EncodeItem]:
        """What the encoder gets."""
        return _items(self.entries)

    def answers(
        self, results: Sequence[EncodeResult], encode_ms: float = 0
    ) -> list[Embedding | GeoBentoError]:
        """One embedding or error per entry."""
        return raised_if_alone(_embeddings(self.entries, results, encode_ms))


@dataclass(frozen=True)
class ZeroShotJob:
    """Pictures to be compared with classes.

    Attributes:
        tag: Which weights it is for.
        pictures: One entry per picture, in order.
        classes: One entry per class, in order.
        logit_scale: Factor on the cosines.
        template: Sentence that the classes were put into.
    """

    tag: str
    pictures: Sequence[Entry]
    classes: Sequence[Entry]
    logit_scale: float
    template: str

    @property
    def items(self) -> list[EncodeItem]:
        """What the encoder gets: pictures, then classes."""
        return _items([*self.pictures, *self.classes])

    def answers(
        self, results: Sequence[EncodeResult], encode_ms: float = 0
    ) -> list[Classification | GeoBentoError]:
        """One classification or error per picture.

        Raises:
            GeoBentoError: A class failed, or the only picture did.
        """
        embeddings = _embeddings([*self.pictures, *self.classes], results, encode_ms)
        pictures, classes = embeddings[: len(self.pictures)], embeddings[len(self.pictures) :]
        vectors = []
        for position, name in enumerate(classes):
            if isinstance(name, GeoBentoError):
                name.field = f"classes.{position}"
                raise name
            vectors.append(name.data)
        stacked = np.stack(vectors)
        return raised_if_alone(
            [
                picture if isinstance(picture, GeoBentoError) else self._compared(picture, stacked)
                for picture in pictures
            ]
        )

    def _compared(
        self, picture: Embedding, classes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    ) -> Classification | GeoBentoError:
        shares = embedding.probabilities(picture.data, classes, self.logit_scale)
        if isinstance(shares, GeoBentoError):
            return shares
        how = picture.meta
        return Classification(
            shares,
            ClassificationMeta(
                model=how.model,
                tag=how.tag,
                variant=how.variant,
                weights=how.weights,
                logit_scale=self.logit_scale,
                template=self.template,
                precision=how.precision,
                preprocessing=how.preprocessing,
                config=how.config,
            ),
        )


def _items(entries: Sequence[Entry]) -> list[EncodeItem]:
    return [item for entry in entries if not isinstance(entry, GeoBentoError) for item in entry[0]]


def _embeddings(
    entries: Sequence[Entry], results: Sequence[EncodeResult], encode_ms: float
) -> list[Embedding | GeoBentoError]:
    remaining = iter(results)
    timing_ms = {"encode": encode_ms}
    return [
        entry
        if isinstance(entry, GeoBentoError)
        else embedding.embedding(list(islice(remaining, len(entry[0]))), entry[1], timing_ms)
        for entry in entries
    ]


def raised_if_alone(answers: list[Answer | GeoBentoError]) -> list[Answer | GeoBentoError]:
    """The answers of a request, unless there is a single one and it is an error.

    Raises:
        GeoBentoError: That error.
    """
    if len(answers) == 1 and isinstance(answers[0], GeoBentoError):
        raise answers[0]
    return answers
