"""Items into batches by batch key, and one result or error per item."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from geobento.schemas.errors import GeoBentoError, InternalError
from inference.cpu_pool import CpuPool
from inference.types import EncodeItem, EncodeResult
from models.base import Model

logger = logging.getLogger("geobento.models")

Encode = Callable[[Sequence[EncodeItem]], list[EncodeResult]]
"""One forward pass for items that can be stacked; raises if the pass fails."""


def run_items(
    items: Sequence[EncodeItem], model: Model, encode: Encode, pool: CpuPool
) -> list[EncodeResult]:
    """Results in the order of the items; an item that fails does not fail the others.

    Args:
        items: Any mix of shapes, poolings and preprocessings.
        model: Provides the batch keys and the maximum batch size.
        encode: Runs one batch.
        pool: Cores to run the batches on.
    """
    batches, results = _make_batches(items, model)

    def run_batch(positions: Sequence[int]) -> list[EncodeResult]:
        return _encode_or_split([items[position] for position in positions], model, encode)

    for positions, batch_results in pool.run_batches(run_batch, batches):
        results.update(zip(positions, batch_results, strict=True))
    return [results[position] for position in range(len(items))]


def _make_batches(
    items: Sequence[EncodeItem], model: Model
) -> tuple[list[list[int]], dict[int, EncodeResult]]:
    """Group items that can be stacked.

    Returns:
        Positions of the items of each batch, and errors of items without a batch key by position.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    errors: dict[int, EncodeResult] = {}
    for position, item in enumerate(items):
        try:
            key = model.batch_key(item.inputs), item.preprocessing
            groups[key].append(position)
        except Exception as error:
            errors[position] = _error_result(error, item, model)
    size = model.card.max_batch_size
    batches = [
        positions[start : start + size]
        for positions in groups.values()
        for start in range(0, len(positions), size)
    ]
    return batches, errors


def _encode_or_split(
    items: Sequence[EncodeItem], model: Model, encode: Encode
) -> list[EncodeResult]:
    """Run a batch. If it fails, run its items one by one, to find those that fail."""
    try:
        return encode(items)
    except Exception as error:
        if len(items) > 1:
            return [result for item in items for result in _encode_or_split([item], model, encode)]
        return [_error_result(error, items[0], model)]


def _error_result(error: Exception, item: EncodeItem, model: Model) -> EncodeResult:
    if not isinstance(error, GeoBentoError):
        logger.error(
            "request %s: forward of %s failed",
            item.request_id,
            model.card.id,
            exc_info=error,
            extra={"request": item.request_id},
        )
        error = InternalError("the model failed on this input; the service log has more")
    return EncodeResult(error=error.body())
