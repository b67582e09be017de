"""What is in an answer, and whether it is right."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float32]

MIN_COSINE = 0.999
OK = "200"
REJECTED = "503"


def parse_vector(body: bytes) -> Vector:
    """The first vector of an answer of this service."""
    return vector_from_base64(orjson.loads(body)["embeddings"][0]["data"])


def vector_from_base64(text: str) -> Vector:
    """A vector from its little-endian bytes."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def cosine_similarity(one: Vector, other: Vector) -> float:
    """Of the angle between two vectors."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


class ResponseVerifier:
    """A judge: `200`, `503` (with `Retry-After`), `wrong`, or what else came.

    Args:
        expected: The right vector of every request.
        parse: From a body to its vector.

    Attributes:
        min_cosine: The smallest cosine so far, infinite before the first answer.
    """

    def __init__(
        self, expected: Sequence[Vector], parse: Callable[[bytes], Vector] = parse_vector
    ) -> None:
        self._expected = expected
        self._parse = parse
        self.min_cosine = float("inf")

    def __call__(self, position: int, status: int, head: bytes, body: bytes) -> str:
        """The outcome of an answer."""
        if status == 503:
            return REJECTED if b"\nretry-after:" in head.lower() else "503 without Retry-After"
        if status != 200:
            return str(status)
        result = cosine_similarity(self._parse(body), self._expected[position])
        self.min_cosine = min(self.min_cosine, result)
        return OK if result >= MIN_COSINE else "wrong"
