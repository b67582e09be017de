"""The servers of the comparison: how to start them, and their requests and responses."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from benchmarks import images, load, verify
from benchmarks.comparison import environment
from benchmarks.service import RunningServer, free_port, run_geobento, run_server
from benchmarks.verify import Vector

OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


@dataclass(frozen=True)
class Server:
    """One of those that are compared.

    Attributes:
        name: In the table.
        start: From a file for its log to the server that is up.
        make_requests: From images to requests.
        parse_vector: From the body of an answer to its vector.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[RunningServer]]
    make_requests: Callable[[Sequence[bytes]], list[bytes]]
    parse_vector: Callable[[bytes], Vector]


def geobento_server(model: str, tag: str, form: str, precision: str = "auto") -> Server:
    """This service, with images as `multipart` or `base64`."""
    return Server(
        "geobento, " + (form if precision == "auto" else f"{form}, {precision}"),
        partial(run_geobento, GEOBENTO_MODELS=tag, GEOBENTO_PRECISION=precision),
        partial(_geobento_requests, model, form),
        verify.parse_vector,
    )


def infinity_server(folder: Path) -> Server:
    """Infinity as its command line starts it."""
    return Server("infinity", partial(_start_infinity, folder), _infinity_requests, _parse_infinity)


def litserve_server(folder: Path, workers: int, threads: int) -> Server:
    """LitServe with so many processes for the model, each with so many threads."""
    return Server(
        f"litserve, {workers} x {threads}",
        partial(_start_litserve, folder, workers, threads),
        _litserve_requests,
        _parse_litserve,
    )


def peer_servers(folder: Path) -> list[Server]:
    """All others; LitServe with one process for all cores, and with one process for each."""
    cores = len(os.sched_getaffinity(0))
    shapes = dict.fromkeys([(1, cores), (cores, 1)])
    return [infinity_server(folder), *(litserve_server(folder, *shape) for shape in shapes)]


def _geobento_requests(model: str, form: str, encoded_images: Sequence[bytes]) -> list[bytes]:
    return images.make_requests(model, encoded_images, form)


def _start_infinity(folder: Path, log: Path) -> AbstractContextManager[RunningServer]:
    python = environment.ensure_interpreter("infinity")
    port = free_port()
    command: list[str | Path] = [python.with_name("infinity_emb"), "v2", "--model-id", folder]
    command += ["--served-model-name", "clip", "--engine", "torch", "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    return run_server(command, port, "/health", log, OFFLINE)


def _infinity_requests(encoded_images: Sequence[bytes]) -> list[bytes]:
    """As its OpenAI route takes them."""
    return [
        load.post_request(
            "/embeddings",
            "application/json",
            orjson.dumps(
                {
                    "model": "clip",
                    "modality": "image",
                    "encoding_format": "base64",
                    "input": [f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"],
                }
            ),
        )
        for image in encoded_images
    ]


def _parse_infinity(body: bytes) -> Vector:
    return verify.vector_from_base64(orjson.loads(body)["data"][0]["embedding"])


def _start_litserve(
    folder: Path, workers: int, threads: int, log: Path
) -> AbstractContextManager[RunningServer]:
    python = environment.ensure_interpreter("litserve")
    port = free_port()
    command: list[str | Path] = [python, "-P", Path(__file__).with_name("lit_server.py"), folder]
    command += ["--port", str(port), "--workers", str(workers), "--threads", str(threads)]
    return run_server(command, port, "/health", log, OFFLINE)


def _litserve_requests(encoded_images: Sequence[bytes]) -> list[bytes]:
    return [
        load.post_request(
            "/predict",
            "application/json",
            orjson.dumps({"image": base64.b64encode(image).decode()}),
        )
        for image in encoded_images
    ]


def _parse_litserve(body: bytes) -> Vector:
    return verify.vector_from_base64(orjson.loads(body)["embedding"])
