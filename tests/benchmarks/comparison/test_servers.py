"""What the peers are asked, and what is read from their answers."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from benchmarks.comparison.__main__ import QUICK_OPTIONS, parse_options
from benchmarks.comparison.servers import (
    geobento_server,
    infinity_server,
    litserve_server,
    peer_servers,
)

IMAGE = b"\xff\xd8 not really"
VECTOR = np.array([0.5, -2], np.float32)
TEXT = base64.b64encode(VECTOR.tobytes()).decode()
FOLDER = Path("weights")


def body(request: bytes) -> tuple[str, Any]:
    """Path and JSON of a request, its length checked."""
    head, _, content = request.partition(b"\r\n\r\n")
    assert f"content-length: {len(content)}" in head.decode().lower()
    return head.decode().split()[1], orjson.loads(content)


def test_infinity_is_asked_for_base64() -> None:
    """As its OpenAI route documents it; the answer is read back bit by bit."""
    server = infinity_server(FOLDER)
    path, request = body(server.make_requests([IMAGE])[0])
    assert (path, request["modality"], request["encoding_format"]) == (
        "/embeddings",
        "image",
        "base64",
    )
    assert base64.b64decode(request["input"][0].removeprefix("data:image/jpeg;base64,")) == IMAGE
    answer = orjson.dumps({"object": "list", "data": [{"index": 0, "embedding": TEXT}]})
    np.testing.assert_array_equal(server.parse_vector(answer), VECTOR)


def test_litserve_is_asked_for_base64() -> None:
    """As its script reads and answers it."""
    server = litserve_server(FOLDER, 2, 1)
    path, request = body(server.make_requests([IMAGE])[0])
    assert (path, base64.b64decode(request["image"])) == ("/predict", IMAGE)
    np.testing.assert_array_equal(server.parse_vector(orjson.dumps({"embedding": TEXT})), VECTOR)


@pytest.mark.parametrize("form", ["multipart", "base64"])
def test_every_image_is_one_request(form: str) -> None:
    """All servers get as many images in a request: one."""
    images = [IMAGE, IMAGE[:5]]
    for server in (geobento_server("remoteclip", "remoteclip:1", form), *peer_servers(FOLDER)):
        assert len(server.make_requests(images)) == 2
        assert len(set(server.make_requests(images))) == 2


def test_servers_have_names_of_their_own() -> None:
    """Rows of two set-ups do not fall together."""
    names = [server.name for server in peer_servers(FOLDER)]
    assert len(set(names)) == len(names) >= 2


def test_short_gives_way_to_what_is_asked_for() -> None:
    """`--short` sets what is not said, and nothing else."""
    assert (parse_options([]).seconds, parse_options(["--short"]).seconds) == (
        8,
        float(QUICK_OPTIONS[1]),
    )
    options = parse_options(["--short", "--seconds", "5"])
    assert (options.seconds, options.sizes) == (5, ["640x480"])
