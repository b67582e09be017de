"""vitrivr's API over invented answers: real routes, jobs, admission limits and HTTP, no networks.

Run as a program, ``python -m tests.compat.vitrivr_service HOME PORT``, it is a service to kill.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import uvicorn
from starlette.applications import Starlette

from compat.vitrivr import routes
from geobento.config.settings import Settings
from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import Classification, ClassificationMeta, Embedding, EmbeddingMeta
from geobento.schemas.errors import GeoBentoError, InvalidImage
from geobento.schemas.requests import ImageEmbeddingRequest, TextEmbeddingRequest, ZeroShotRequest
from models.base import Model
from models.clip.openai import Clip
from models.dinov2.model import DinoV2
from models.mosaiks.model import Mosaiks
from pipeline.async_engine import AsyncEngine
from pipeline.inputs import images as inputs_images
from pipeline.model_registry import ModelHandle, ModelRegistry
from server.middleware.admission import AdmissionMiddleware
from server.middleware.request_context import RequestContextMiddleware
from tests.servers import free_port

NO_META = cast("EmbeddingMeta", None)
SLOW_S = 0.3


def image(content: bytes) -> str:
    """What stands for an image; `bad`, `slow`, `deadly`, `bug` and `wait` are special."""
    return base64.b64encode(content).decode()


def vector(content: bytes) -> list[float]:
    """The invented embedding of an image or text."""
    return [float(len(content)), float(sum(content) % 97), 0.5]


def opened(cls: type[Model], *modalities: str) -> ModelHandle:
    """A model as if it were served."""
    model = cls(cls.default_config(cls.card.default_variant))
    served = ServedModel(
        tag=f"{cls.card.id}:1",
        variant=cls.card.default_variant,
        dim=model.dim,
        weights="dummy",
        sha256="",
        created=datetime(2024, 1, 1),
        preprocessing="",
        modalities=[*model.modalities(), *modalities],
        card=cls.card,
    )
    return ModelHandle(model, served, "cpu")


class InventedServing:
    """Answers from the content of the inputs alone."""

    def __init__(self) -> None:
        self.registry = ModelRegistry([opened(Clip, "text"), opened(DinoV2), opened(Mosaiks)])
        self.gate = threading.Event()
        """Inputs that say `wait` wait for it."""

    async def image_embedding(
        self, request: ImageEmbeddingRequest
    ) -> list[Embedding | GeoBentoError]:
        """One vector per image."""
        contents = [inputs_images.decode_payload(image) for image in request.images]
        return await self._embeddings(contents)

    async def text_embedding(
        self, request: TextEmbeddingRequest
    ) -> list[Embedding | GeoBentoError]:
        """One vector per text."""
        return await self._embeddings([text.encode() for text in request.texts])

    async def zero_shot_classification(
        self, request: ZeroShotRequest
    ) -> list[Classification | GeoBentoError]:
        """All classes the same."""
        share = np.full(len(request.classes), 1 / len(request.classes), np.float32)
        meta = cast("ClassificationMeta", None)
        images = await self.image_embedding(
            ImageEmbeddingRequest(model=request.model, images=request.images)
        )
        return [
            image if isinstance(image, GeoBentoError) else Classification(share, meta)
            for image in images
        ]

    async def _embeddings(self, contents: Sequence[bytes]) -> list[Embedding | GeoBentoError]:
        answers = [await self._embedding(content) for content in contents]
        if len(answers) == 1 and isinstance(answers[0], GeoBentoError):
            raise answers[0]
        return answers

    async def _embedding(self, content: bytes) -> Embedding | GeoBentoError:
        if content.startswith(b"bad"):
            return InvalidImage("this is not an image")
        if content.startswith(b"slow"):
            await asyncio.sleep(SLOW_S)
        if content.endswith(b"deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        if content.startswith(b"bug"):
            raise RuntimeError("/secret/path")
        while content.startswith(b"wait") and not self.gate.is_set():
            await asyncio.sleep(0.005)
        return Embedding(np.array(vector(content), np.float32), NO_META)


def app(settings: Settings, serving: InventedServing) -> Any:
    """The API alone, behind the admission limits."""
    real = cast(AsyncEngine, serving)

    async def ready() -> bool:
        return True

    jobs = routes.make_job_worker(lambda: real, settings, ready)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await jobs.start()
        yield
        await jobs.stop()

    inner = Starlette(
        routes=routes.VitrivrApi(
            lambda: real, lambda: jobs, settings.request_timeout_s, settings.max_client_batch_size
        ).routes(),
        lifespan=lifespan,
    )
    shapes = {"api": routes.ERROR_FORMAT}
    return RequestContextMiddleware(
        AdmissionMiddleware(inner, settings.max_body_mb, 100, error_formats=shapes), shapes
    )


@contextmanager
def in_thread(settings: Settings, serving: InventedServing) -> Iterator[httpx.Client]:
    """The service in a thread; yields a client of it."""
    port = free_port()
    server = uvicorn.Server(_config(settings, serving, port))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=30) as client:
            yield client
    finally:
        serving.gate.set()
        server.should_exit = True
        thread.join()


def result(client: httpx.Client, path: str) -> dict[str, Any]:
    """The last answer about a job, at ``/tasks/...``."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        output: dict[str, Any] = answer.json()
        if output["status"] in ("complete", "failed"):
            return output
        time.sleep(0.01)
    raise AssertionError(f"{path} did not end")


def _config(settings: Settings, serving: InventedServing, port: int) -> uvicorn.Config:
    return uvicorn.Config(app(settings, serving), port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    uvicorn.Server(
        _config(Settings(data_dir=Path(sys.argv[1])), InventedServing(), int(sys.argv[2]))
    ).run()
