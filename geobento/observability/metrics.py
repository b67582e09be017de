"""Prometheus metrics.

Every process writes its own files, and BentoML's `/metrics` adds them up. Labels have few values:
served models, types of errors, names of stages.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import psutil
from prometheus_client import Counter, Gauge, Histogram, multiprocess

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

ITEMS = Counter("geobento_items", "Images, texts and regions processed", ["model", "outcome"])
STAGE_SECONDS = Histogram(
    "geobento_stage_seconds",
    "Seconds of a request in a stage",
    ["model", "stage"],
    buckets=_LATENCY_BUCKETS_S,
)
BATCH_SIZE = Histogram(
    "geobento_batch_items",
    "Items in a batch",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
QUEUE_DEPTH = Gauge(
    "geobento_queue_depth",
    "Items that wait for a model or are in it",
    ["model"],
    multiprocess_mode="livesum",
)
PENDING_BYTES = Gauge(
    "geobento_pending_bytes",
    "Bytes of request bodies, fetched pixels and inputs in memory",
    ["kind"],
    multiprocess_mode="livesum",
)
REQUESTS_IN_FLIGHT = Gauge(
    "geobento_requests_in_flight", "Requests in progress", multiprocess_mode="livesum"
)
ERRORS = Counter(
    "geobento_errors", "Errors in responses, including those of single items", ["type"]
)
ABANDONED_REQUESTS = Counter("geobento_abandoned_requests", "Requests whose client disconnected")
EXPIRED_ITEMS = Counter("geobento_expired_items", "Items dropped after their deadline", ["model"])
FAILED_RUNNER_CALLS = Counter(
    "geobento_failed_runner_calls", "Calls without a response from the runner", ["model"]
)
FETCHED_PATCHES = Counter("geobento_fetched_patches", "Patches fetched", ["backend", "cache"])
MODEL_INFO = Gauge(
    "geobento_model_info",
    "Served models, always 1",
    ["model", "tag", "precision", "device"],
    multiprocess_mode="max",
)


def observe_stages(context: RequestContext) -> None:
    """Observe the stages of a finished request."""
    if context.model:
        for name, seconds in context.stage_seconds.items():
            STAGE_SECONDS.labels(context.model, name).observe(seconds)


def count_fetch(backend: str, cached: bool | None) -> None:
    """Count a patch; `cached` as in `Sample`."""
    FETCHED_PATCHES.labels(backend, {None: "off", True: "hit", False: "miss"}[cached]).inc()


def remove_dead_process_metrics() -> None:
    """Delete gauge files of dead processes, which would count as live otherwise."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return
    pids = {file.stem.rpartition("_")[2] for file in Path(folder).glob("gauge_live*_*.db")}
    for pid in pids:
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            multiprocess.mark_process_dead(int(pid), folder)  # type: ignore[no-untyped-call]


def server_timing(stage_seconds: Iterable[tuple[str, float]]) -> str:
    """Value of the header `Server-Timing`."""
    return ", ".join(f"{name};dur={1000 * value:.1f}" for name, value in stage_seconds)
