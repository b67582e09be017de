"""Large batches in chunks, to bound the memory of activations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK_SIZE = 2**14
"""Pixels times dates, or sub-patches, per chunk."""


def map_chunks(function: Callable[[Tensor], Tensor], items: Tensor) -> Tensor:
    """Apply a function to (N, n, ...) in chunks of `CHUNK_SIZE // n` items, at least one."""
    size = max(1, CHUNK_SIZE // items.shape[1])
    return torch.cat([function(chunk) for chunk in torch.split(items, size)])
