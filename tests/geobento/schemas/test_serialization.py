"""Arrays over the wire."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
import pytest

from geobento.schemas import serialization
from geobento.schemas.embedding import Embedding, EmbeddingMeta
from geobento.schemas.errors import NoImageryError

META = EmbeddingMeta(
    model="m", type="on_the_fly", tag="m:1", variant="v", weights="dummy", modality="s2",
    dim=5, pooling="mean", normalized=False, cls_removed=False, precision="float32",
    preprocessing="d", timing_ms={"encode": 1.5},
)  # fmt: skip


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("shape", [(5,), (3, 2, 4)])
def test_an_array_comes_back_to_the_last_bit(encoding: Any, shape: tuple[int, ...]) -> None:
    """Vectors and grids, in both encodings, also where the array is a strided view."""
    array = np.random.default_rng(0).normal(size=(*shape, 2)).astype(np.float32)[..., 0]
    body = serialization.encode_embeddings("m", 5, [Embedding(array, META)], encoding)
    (answer,) = serialization.decode_embeddings(body)
    assert isinstance(answer, Embedding)
    np.testing.assert_array_equal(answer.data, array)
    assert answer.data.dtype == np.float32
    assert answer.meta == META


def test_base64_is_little_endian_row_by_row() -> None:
    """What the documentation says is what another program can rely on."""
    entry = orjson.loads(
        serialization.encode_embeddings(
            "m", 2, [Embedding(np.array([1.0, -2.0], np.float32), META)], "base64"
        )
    )["embeddings"][0]
    assert base64.b64decode(entry["data"]) == bytes.fromhex("0000803f000000c0")
    assert (entry["shape"], entry["dtype"]) == ([2], "float32")


def test_errors_keep_their_position() -> None:
    """An entry is an embedding or an error, in the order of the request."""
    vector = Embedding(np.zeros(2, np.float32), META)
    error = NoImageryError("nothing there", field="spatials.1")
    body = serialization.encode_embeddings("m", 2, [vector, error, vector], "float")
    first, failed, last = serialization.decode_embeddings(body)
    assert isinstance(first, Embedding)
    assert isinstance(failed, NoImageryError)
    assert failed.field == "spatials.1"
    assert isinstance(last, Embedding)


def test_numbers_are_nested_row_by_row() -> None:
    """As JSON, a grid is lists of lists in the order (D, H, W)."""
    grid = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    body = orjson.loads(serialization.encode_embeddings("m", 2, [Embedding(grid, META)], "float"))
    assert (body["model"], body["dim"]) == ("m", 2)
    assert body["embeddings"][0]["data"] == grid.tolist()
    assert body["embeddings"][0]["shape"] == [2, 3, 2]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_arrays_of_another_byte_order(encoding: Any) -> None:
    """Big-endian and double input is written as little-endian float32 all the same."""
    values = np.array([1.5, -2.25, 3e-8])
    for given in (values.astype(">f4"), values):
        data = orjson.loads(
            orjson.dumps(
                serialization.encode_array(given, encoding), option=orjson.OPT_SERIALIZE_NUMPY
            )
        )
        np.testing.assert_array_equal(
            serialization.decode_array(data, [3]), values.astype(np.float32)
        )
