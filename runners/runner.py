"""A model as a BentoML service: one process, one network.

Batches are made in the API server, see `runners.batcher`. A call is a batch.
"""

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
"""Calls are pickled, so the content type has no effect. Without one, BentoML makes a JSON schema
for every response to find it out."""

UNLIMITED = 1_000_000_000
"""Calls, and seconds, after which BentoML's client closes a connection pool, even if other calls
still use it. With its defaults (100 calls, 300 s) concurrent requests fail."""

SHUTDOWN_MARGIN_S = 30.0
"""How much longer than the deadline of an item a runner waits for the API server to stop."""


def runner_name(model_id: str, variant: str) -> str:
    """Name of the runner of a model in metrics and logs, and as attribute of the service."""
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

    The runner is ready when it has checked the digest of the weights and answered a warm-up
    forward for every modality. It never raises for an item: a result holds data or an error.

    Args:
        stored: The model.
        device: Device of its forward passes.
        precision: Precision of its forward passes.
        workers: Processes, each with its own copy of the weights and its share of the cores.
        timeout_s: Deadline of an item from its arrival, seconds.
        data_dir: Folder of the service's own files.
        tracing: BentoML's configuration of spans, see `runners.tracing`.
    """
    service = bentoml.service(
        name=runner_name(stored.metadata["model"], stored.metadata["variant"]),
        workers=workers,
        threads=cpu_pool.concurrent_batches(device, workers),
        traffic={"timeout": timeout_s},
        runner_connection={"max_requests": UNLIMITED, "max_age": float(UNLIMITED)},
        logging={"access": {"enabled": False}},
        tracing=tracing,
    )
    runner: bentoml.Service[Any] = service(
        _runner_class(stored, device, precision, workers, timeout_s, data_dir)
    )
    return runner


def _runner_class(
    stored: StoredModel,
    device: str,
    precision: Precision,
    workers: int,
    timeout_s: float,
    data_dir: Path,
) -> type:
    """The class behind the service; BentoML takes its arguments from the enclosing function."""
    model_name = stored.to_served_model().name

    class Runner:
        __doc__ = f"Runner of {stored.tag}."

        weights = BentoModel(stored.tag)

        def __init__(self) -> None:
            devices.limit_torch_threads(workers)
            malloc.configure_malloc()
            self._loaded = load_model(to_stored_model(self.weights), device, precision)
            self._loaded.warm_up()
            gc.freeze_gc()
            logger.info("%s is ready", stored.tag)

        @bentoml.on_startup
        def wait_for_server_shutdown(self) -> None:
            """Stop after the API server, which may still send items."""
            lock = graceful_shutdown.lock_file(data_dir)
            graceful_shutdown.wait_for_server(lock, timeout_s + SHUTDOWN_MARGIN_S)

        @bentoml.api
        def encode(self, items: list[EncodeItem]) -> Results:
            """One result per item, in order."""
            return run_batch(self._loaded.run, items, model_name)

    return Runner
