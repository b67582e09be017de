"""What a runner does with the items that it got together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from geobento.observability import metrics
from geobento.schemas.errors import DeadlineExceeded
from inference.types import EncodeItem, EncodeResult

_EXPIRED = DeadlineExceeded("the request's time was over before the model got to it")


def run_batch(
    forward: Callable[[Sequence[EncodeItem]], list[EncodeResult]],
    items: Sequence[EncodeItem],
    model_name: str,
) -> list[EncodeResult]:
    """Results in the order of the items; those that nobody waits for any more are not computed.

    Args:
        forward: The forward.
        items: What came together.
        model_name: Name of the model in metrics.
    """
    begun = time.time()
    wanted = [item for item in items if item.deadline is None or item.deadline > begun]
    metrics.BATCH_SIZE.labels(model_name).observe(len(items))
    if len(wanted) < len(items):
        metrics.EXPIRED_ITEMS.labels(model_name).inc(len(items) - len(wanted))
    results = iter(forward(wanted) if wanted else ())
    forward_s = time.time() - begun
    return [
        next(results).model_copy(
            update={"queue_s": max(0.0, begun - (item.sent_at or begun)), "forward_s": forward_s}
        )
        if item.deadline is None or item.deadline > begun
        else EncodeResult(error=_EXPIRED.body())
        for item in items
    ]
