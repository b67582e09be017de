"""Types that models, networks and preprocessing share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Inputs = dict[str, NDArray[Any]]
"""Prepared inputs of one sample by name, without a batch axis."""
Tensors = dict[str, "torch.Tensor"]
"""Weights by parameter name."""
Config = dict[str, Any]
"""Architecture of a network, stored as JSON beside its weights."""


@dataclass(frozen=True)
class Encoded:
    """Output of a network for one batch.

    Attributes:
        tokens: ``(B, prefix + h * w, D)``; grid tokens row by row, first row north.
        grid_shape: ``(h, w)``; the grid tokens are equal cells of the input.
        num_prefix_tokens: Tokens before the grid tokens (class token, registers).
        pixel_margin: Input pixels at every side that no grid token covers.
        area_weights: ``(h * w,)`` share of the area that each grid token covers, with sum 1;
            None: all equal.
        vector: ``(B, D)``: native vector of the whole input; None: the mean of the grid.
        feature_map: ``(B, D, h, w)``: the grid, if it is not part of `tokens`, which then may be
            of any number.
        valid: ``(B, h * w)``: False for grid tokens without data. They are NaN and are left out
            of means and maxima. None: all tokens have data.
        class_token: ``(B, D)``; None: the network has none.
    """

    tokens: torch.Tensor
    grid_shape: tuple[int, int]
    num_prefix_tokens: int = 0
    pixel_margin: float = 0.0
    area_weights: torch.Tensor | None = None
    vector: torch.Tensor | None = None
    feature_map: torch.Tensor | None = None
    valid: torch.Tensor | None = None
    class_token: torch.Tensor | None = None
