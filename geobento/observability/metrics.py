"""What the service counts and measures, for Prometheus.

Every process writes its share, and BentoML's `/metrics` adds them up. Labels take few values:
models that are served, types of errors, names of stages.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from geobento.observability.request_context import RequestContext

_LATENCY_BUCKETS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
)

ITEMS = Counter("geobento_items", "Pictures, texts and places answered", ["model", "outcome"])
STAGE_SECONDS = Histogram(
    "geobento_stage_seconds",
    "Time of a request in a stage",
    ["model", "stage"],
    buckets=_LATENCY_BUCKETS_S,
)
BATCH_SIZE = Histogram(
    "geobento_batch_items",
    "Items that a runner got together",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
QUEUE_DEPTH = Gauge(
    "geobento_queue_depth",
    "Items that wait for a model or are with it",
    ["model"],
    multiprocess_mode="livesum",
)
PENDING_BYTES = Gauge(
    "geobento_pending_bytes",
    "Bodies, fetched pixels and inputs held",
    ["kind"],
    multiprocess_mode="livesum",
)
REQUESTS_IN_FLIGHT = Gauge(
    "geobento_requests_in_flight", "Requests being worked on", multiprocess_mode="livesum"
)
ERRORS = Counter("geobento_errors", "Errors answered, those of single items too", ["type"])
ABANDONED_REQUESTS = Counter("geobento_abandoned_requests", "Requests whose client went away")
EXPIRED_ITEMS = Counter(
    "geobento_expired_items", "Items dropped because nobody waited any more", ["model"]
)
FAILED_RUNNER_CALLS = Counter(
    "geobento_failed_runner_calls", "Calls that a runner did not answer", ["model"]
)
FETCHED_PATCHES = Counter("geobento_fetched_patches", "Patches fetched", ["backend", "cache"])
MODEL_INFO = Gauge(
    "geobento_model_info",
    "Models served, always 1",
    ["model", "tag", "precision", "device"],
    multiprocess_mode="max",
)


def observe_stages(context: RequestContext) -> None:
    """Take over the stages of a request that has ended."""
    if context.model:
        for name, seconds in context.stage_seconds.items():
            STAGE_SECONDS.labels(context.model, name).observe(seconds)


def count_fetch(backend: str, cached: bool | None) -> None:
    """Count a patch; `cached` as in `Sample`."""
    FETCHED_PATCHES.labels(backend, {None: "off", True: "hit", False: "miss"}[cached]).inc()


def remove_dead_process_metrics() -> None:
    """Drop what processes that were killed had in flight."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return
    for file in Path(folder).glob("gauge_live*_*.db"):
        if not _is_alive(file.stem.rpartition("_")[2]):
            file.unlink(missing_ok=True)


def _is_alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def server_timing(stage_seconds: Iterable[tuple[str, float]]) -> str:
    """The value of the header of that name."""
    return ", ".join(f"{name};dur={1000 * value:.1f}" for name, value in stage_seconds)
