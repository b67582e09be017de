"""Arrays and responses to bytes and back."""

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
    """An array for the JSON body: unchanged (orjson writes it), or base64."""
    little = np.ascontiguousarray(array, dtype="<f4")
    return little if encoding == "float" else base64.b64encode(little.data).decode("ascii")


def decode_array(data: list[Any] | str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The array of a response in either encoding."""
    if isinstance(data, str):
        flat = np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32)
    else:
        flat = np.asarray(data, dtype=np.float32)
    return flat.reshape(tuple(shape))


def encode_embeddings(
    model: str, dim: int, results: Sequence[Embedding | GeoBentoError], encoding: Encoding
) -> bytes:
    """JSON body of an embedding response: one entry per item, in order.

    Args:
        model: Id of the model.
        dim: Length of its vectors, used if there is no embedding.
        results: One embedding or error per item.
        encoding: Encoding of the arrays.
    """
    # A grid, and the mean of its cells, may have another length than the native vector.
    dim = next((len(result.data) for result in results if isinstance(result, Embedding)), dim)
    entries = [
        result.body()
        if isinstance(result, GeoBentoError)
        else {
            "data": encode_array(result.data, encoding),
            "shape": result.data.shape,
            "dtype": "float32",
            "meta": result.meta.model_dump(mode="json"),
        }
        for result in results
    ]
    return orjson.dumps(
        {"model": model, "dim": dim, "embeddings": entries}, option=orjson.OPT_SERIALIZE_NUMPY
    )


def encode_classifications(
    model: str, classes: Sequence[str], results: Sequence[Classification | GeoBentoError]
) -> bytes:
    """JSON body of a classification response: one entry per image, in order."""
    entries = [
        result.body()
        if isinstance(result, GeoBentoError)
        else {
            "probabilities": result.probabilities,
            "meta": result.meta.model_dump(mode="json"),
        }
        for result in results
    ]
    return orjson.dumps(
        {"model": model, "classes": classes, "results": entries}, option=orjson.OPT_SERIALIZE_NUMPY
    )


def decode_classifications(body: bytes) -> list[Classification | GeoBentoError]:
    """Results of a classification response: one per image, in order."""
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
    """Results of an embedding response: one per item, in order."""
    return [
        error_from_body(entry)
        if "error" in entry
        else Embedding(
            decode_array(entry["data"], entry["shape"]),
            EmbeddingMeta.model_validate(entry["meta"]),
        )
        for entry in orjson.loads(body)["embeddings"]
    ]
