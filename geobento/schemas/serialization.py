"""Arrays and answers to bytes and back."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from geobento.schemas.embedding import Classification, ClassificationMeta, Embedding, EmbeddingMeta
from geobento.schemas.errors import GeoBentoError, error_from_body
from geobento.schemas.requests import Encoding


def encode_array(array: NDArray[np.float32], encoding: Encoding) -> NDArray[np.float32] | str:
    """An array as it stands in the answer: itself (written by orjson), or base64."""
    little = np.ascontiguousarray(array, dtype="<f4")
    return little if encoding == "float" else base64.b64encode(little.data).decode("ascii")


def decode_array(data: list[Any] | str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The array of an answer, whichever encoding it came in."""
    if isinstance(data, str):
        flat = np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32)
    else:
        flat = np.asarray(data, dtype=np.float32)
    return flat.reshape(tuple(shape))


def encode_embeddings(
    model: str, dim: int, results: Sequence[Embedding | GeoBentoError], encoding: Encoding
) -> bytes:
    """The JSON body of an embedding answer: one entry per item, in order.

    Args:
        model: Id of the model.
        dim: Length of its vectors, stated where no answer has one.
        results: What became of each item.
        encoding: Of the arrays.
    """
    # A grid, and a mean of its cells, may be in another space than the authors' own feature.
    dim = next((len(a.data) for a in results if isinstance(a, Embedding)), dim)
    entries = [
        answer.body()
        if isinstance(answer, GeoBentoError)
        else {
            "data": encode_array(answer.data, encoding),
            "shape": answer.data.shape,
            "dtype": "float32",
            "meta": answer.meta.model_dump(mode="json"),
        }
        for answer in results
    ]
    return orjson.dumps(
        {"model": model, "dim": dim, "embeddings": entries}, option=orjson.OPT_SERIALIZE_NUMPY
    )


def encode_classifications(
    model: str, classes: Sequence[str], results: Sequence[Classification | GeoBentoError]
) -> bytes:
    """The JSON body of a classification answer: one entry per picture, in order."""
    entries = [
        answer.body()
        if isinstance(answer, GeoBentoError)
        else {
            "probabilities": answer.probabilities,
            "meta": answer.meta.model_dump(mode="json"),
        }
        for answer in results
    ]
    return orjson.dumps(
        {"model": model, "classes": classes, "results": entries}, option=orjson.OPT_SERIALIZE_NUMPY
    )


def decode_classifications(body: bytes) -> list[Classification | GeoBentoError]:
    """What a server answered, as objects."""
    return [
        error_from_body(entry)
        if "error" in entry
        else Classification(
            np.asarray(entry["probabilities"], np.float32),
            ClassificationMeta.model_validate(entry["meta"]),
        )
        for entry in orjson.loads(body)["results"]
    ]


def decode_embeddings(body: bytes) -> list[Embedding | GeoBentoError]:
    """What a server answered, as objects."""
    return [
        error_from_body(entry)
        if "error" in entry
        else Embedding(
            decode_array(entry["data"], entry["shape"]),
            EmbeddingMeta.model_validate(entry["meta"]),
        )
        for entry in orjson.loads(body)["embeddings"]
    ]
