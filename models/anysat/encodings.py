"""Encodings of positions, distances and dates, as AnySat computes them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.layers.positions import sincos_encoding

DISTANCE_BUCKETS = (3, 4, 5, 5, 6)
"""Bucket of relative positions by rounded distance; the last is for all larger distances."""
CLS_BUCKET = 7
"""Bucket of pairs with the class token."""
NUM_BUCKETS = 8
"""Buckets 0 to 2 stand for negative distances and are never read."""
DAY_ENCODING_BASE = 367
"""Base of the frequencies at which days of the year are encoded."""


def position_encoding(
    height: int, width: int, spacing: float, dim: int, device: torch.device
) -> Tensor:
    """Encodings (height * width, dim) of a grid, row by row: half from x, half from y.

    Args:
        height: Rows.
        width: Columns.
        spacing: Distance of neighbors, in the unit that is encoded.
        dim: Length of an encoding, a multiple of 4.
        device: Where to compute.
    """
    columns, rows = (
        sincos_encoding(
            torch.arange(count, device=device, dtype=torch.float32) * spacing,
            dim // 2,
            dtype=torch.float32,
        )
        for count in (width, height)
    )
    return torch.cat([columns.repeat(height, 1), rows.repeat_interleave(width, dim=0)], dim=-1)


def distance_buckets(height: int, width: int, device: torch.device) -> Tensor:
    """Buckets (1 + P, 1 + P) of relative positions: class token, then P = height * width cells."""
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    squares = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    far = len(DISTANCE_BUCKETS) - 1
    rounded = squares.clamp(max=far**2).float().sqrt().round().long()
    buckets = torch.tensor(DISTANCE_BUCKETS, device=device)[rounded]
    return functional.pad(buckets, (1, 0, 1, 0), value=CLS_BUCKET)


def encode_days(days: Tensor, width: int, num_heads: int) -> Tensor:
    """Encodings (..., width) of days of the year (...).

    Sines and cosines alternate. Every head, with its share of the width, gets the same encoding.
    """
    share = width // num_heads
    positions = torch.arange(share, device=days.device)
    exponents = 2 * (positions // 2).float() / share
    angles = days.float()[..., None] / DAY_ENCODING_BASE**exponents
    encoded = torch.where(positions % 2 == 0, angles.sin(), angles.cos())
    return encoded.repeat(*(1,) * days.ndim, num_heads)
