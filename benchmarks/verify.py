"""What is in an answer, and whether it is right."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float32]

LEAST_COSINE = 0.999
OK = "200"
REFUSED = "503"


def vector(body: bytes) -> Vector:
    """The first vector of an answer of this service."""
    return from_base64(orjson.loads(body)["embeddings"][0]["data"])


def from_base64(text: str) -> Vector:
    """A vector from its little-endian bytes."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def cosine(one: Vector, other: Vector) -> float:
    """Of the angle between two vectors."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


class Judging:
    """A judge: `200`, `503` (with `Retry-After`), `wrong`, or what else came.

    Args:
        exact: The right vector of every request.
        read: From a body to its vector.

    Attributes:
        least: The smallest cosine so far, infinite before the first answer.
    """

    def __init__(self, exact: Sequence[Vector], read: Callable[[bytes], Vector] = vector) -> None:
        self._exact = exact
        self._read = read
        self.least = float("inf")

    def __call__(self, position: int, status: int, head: bytes, body: bytes) -> str:
        """The outcome of an answer."""
        if status == 503:
            return REFUSED if b"\nretry-after:" in head.lower() else "503 without Retry-After"
        if status != 200:
            return str(status)
        found = cosine(self._read(body), self._exact[position])
        self.least = min(self.least, found)
        return OK if found >= LEAST_COSINE else "wrong"
