"""Sinusoidal encodings."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_encoding(
    positions: Tensor,
    dim: int,
    *,
    period: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Sines, then cosines, of positions at falling frequencies.

    Frequency ``i`` is ``10000 ** (-i / period)``. With the default period ``dim / 2`` they run
    from 1 to nearly 1/10000, as in "Attention Is All You Need".

    Args:
        positions: (...) of any dtype.
        dim: Length of an encoding, even.
        period: Divisor of the exponents; None: ``dim / 2``.
        dtype: Dtype of the computation. Angles far above 1 round visibly in float32, so use the
            dtype of the reference implementation.

    Returns:
        (..., dim) of that dtype.
    """
    steps = torch.arange(dim // 2, dtype=dtype, device=positions.device)
    frequencies = 1 / 10_000 ** (steps / (dim / 2 if period is None else period))
    angles = positions.to(dtype)[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
