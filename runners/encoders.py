"""The encoder of a model: its runner, or for a precomputed model this process."""

from __future__ import annotations

from typing import Any

from geobento.limiters import AdmissionLimiter
from inference import cpu_pool
from inference.loading import load_model
from models.weights.stored_model import StoredModel
from runners.client import RunnerClient
from runners.in_process import InProcessEncoder

Encoder = RunnerClient | InProcessEncoder


def make_encoder(
    stored: StoredModel,
    runner: Any,
    *,
    device: str,
    workers: int,
    concurrent_batches: int,
    max_queue_size: int,
    input_limiter: AdmissionLimiter,
) -> Encoder:
    """What computes the forward passes of a model for the API server.

    Args:
        stored: The model.
        runner: BentoML's proxy of its runner; not used for a precomputed model.
        device: Device of the forward passes.
        workers: Processes of the runner.
        concurrent_batches: Batches that a process computes at a time.
        max_queue_size: Items that may wait for the model.
        input_limiter: Bounds the bytes of inputs of all models.
    """
    if not stored.is_on_the_fly:
        return InProcessEncoder(load_model(stored))
    return RunnerClient(
        runner,
        cpu_pool.max_items_per_call(device, stored.model().card.max_batch_size),
        model_name=stored.to_served_model().name,
        workers=workers,
        concurrent_batches=concurrent_batches,
        max_queue_size=max_queue_size,
        input_limiter=input_limiter,
    )
