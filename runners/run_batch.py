"""Compute one batch in a runner."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from geobento.observability import metrics
from geobento.schemas.errors import DeadlineExceeded
from inference.types import EncodeItem, EncodeResult

_EXPIRED = DeadlineExceeded("the deadline passed before the model started on the request")


def run_batch(
    forward: Callable[[Sequence[EncodeItem]], list[EncodeResult]],
    items: Sequence[EncodeItem],
    model_name: str,
) -> list[EncodeResult]:
    """Results in the order of the items. Items past their deadline are skipped.

    Args:
        forward: Computes results of items, in order.
        items: The batch.
        model_name: Name of the model in metrics.
    """
    started_at = time.time()
    live = [item for item in items if item.deadline is None or item.deadline > started_at]
    metrics.BATCH_SIZE.labels(model_name).observe(len(items))
    if len(live) < len(items):
        metrics.EXPIRED_ITEMS.labels(model_name).inc(len(items) - len(live))
    results = iter(forward(live) if live else ())
    forward_s = time.time() - started_at
    return [
        next(results).model_copy(
            update={
                "queue_s": max(0.0, started_at - (item.sent_at or started_at)),
                "forward_s": forward_s,
            }
        )
        if item.deadline is None or item.deadline > started_at
        else EncodeResult(error=_EXPIRED.body())
        for item in items
    ]
