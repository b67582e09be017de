"""A model behind BentoML's adaptive batching: one service, one process, one network."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.models import BentoModel
from bentoml.validators import ContentType

from inference import cpu_pool, devices
from inference.loading import load_model
from inference.types import EncodeItem, EncodeResult, Precision
from models.weights.registration import to_stored_model
from models.weights.stored_model import StoredModel
from runners import gc, malloc
from runners.bentoml_patches import graceful_shutdown
from runners.run_batch import run_batch

logger = logging.getLogger("geobento.runner")

Results = Annotated[list[EncodeResult], ContentType("application/json")]
"""The content type says nothing, calls being pickled, but without one BentoML works it out for
every answer, from a schema that it makes anew."""

UNLIMITED = 1_000_000_000
"""Calls, and seconds, after which BentoML's client would close a connection pool that other
calls are still using. With its defaults (100 calls, 300 s) concurrent requests fail."""

SHUTDOWN_MARGIN_S = 30.0
"""How much longer than an item may take a runner waits for the front to stop."""


def runner_name(model_id: str, variant: str) -> str:
    """Name of the runner of a model, in metrics, logs and as attribute of the front service."""
    return re.sub(r"\W", "_", f"runner_{model_id}_{variant}")


def make_runner(
    stored: StoredModel,
    *,
    device: str,
    precision: Precision,
    workers: int,
    timeout_s: float,
    data_dir: Path,
    tracing: dict[str, Any],
) -> bentoml.Service[Any]:
    """The runner service of a stored model.

    It says ready only after it has checked the weights' digest and answered a warm-up forward
    for every modality. It never raises for an item: a result holds data or an error.

    Args:
        stored: The model.
        device: Where its forward passes run.
        precision: Number format of them.
        workers: Processes, each with its own copy of the weights and its share of the cores.
        timeout_s: Longest time that an item may wait and be worked on.
        data_dir: Folder of the service's own files.
        tracing: Whether spans are made, see `runners.tracing`.
    """
    name = stored.to_served_model().name

    class Runner:
        __doc__ = f"Runner of {stored.tag}."

        weights = BentoModel(stored.tag)

        def __init__(self) -> None:
            devices.limit_torch_threads(workers)
            malloc.configure_malloc()
            self._loaded = load_model(to_stored_model(self.weights), device, precision)
            self._loaded.warm_up()
            gc.freeze_gc()
            logger.info("%s is warm", stored.tag)

        @bentoml.on_startup
        def outlive_the_front(self) -> None:
            """Stop after the front, which may still ask."""
            graceful_shutdown.wait_for_server(
                graceful_shutdown.lock_file(data_dir), timeout_s + SHUTDOWN_MARGIN_S
            )

        @bentoml.api(
            batchable=True,
            max_batch_size=max(2, stored.model().card.max_batch_size),
            max_latency_ms=int(timeout_s * 1000),
        )
        def encode(self, items: list[EncodeItem]) -> Results:
            """One result per item, in order."""
            return run_batch(self._loaded.run, items, name)

    service = bentoml.service(
        name=runner_name(stored.metadata["model"], stored.metadata["variant"]),
        workers=workers,
        threads=cpu_pool.concurrent_batches(device, workers),
        traffic={"timeout": timeout_s},
        runner_connection={"max_requests": UNLIMITED, "max_age": float(UNLIMITED)},
        logging={"access": {"enabled": False}},
        tracing=tracing,
    )
    made: bentoml.Service[Any] = service(Runner)
    return made
