"""Products with weights in the order in which the processor reads them.

Torch brings a matrix of weights into that order at every forward. Here it is done at the first,
which pays most where few items share a forward.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import torch
from torch import nn

LEAST_SIDE = 256
"""Smaller matrices gain less by whole numbers than it costs to make them."""
MOST = 127
ZERO = 128
"""Whole numbers of eight bits are -127 to 127. The processor multiplies those of one side without
a sign, with what stands for zero added: the same bits but the first."""
LEAST_SCALE = 1e-30


class Packed(nn.Module):
    """A product with weights, for inference in bfloat16 on a CPU.

    They are packed when it is first used. Where others read them instead of calling this layer, as
    the attention of open_clip's residual networks does, they stay what they are.

    Args:
        weight: (out, ...), of which all but the first axis are summed over.
        bias: (out,), or None.

    Attributes:
        weight: What was given; once packed, a tensor of that type without numbers.
        bias: What was given.
    """

    weight: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = bias
        self._packed: torch.Tensor | None = None
        self._packing = Lock()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        packed = self._packed if self._packed is not None else self._pack()
        return self._multiplied(values, packed)

    def _pack(self) -> torch.Tensor:
        with self._packing:
            if self._packed is None:
                matrix = self.weight.detach().flatten(1)
                self._packed = self._arranged(matrix)
                self.weight = nn.Parameter(matrix.new_empty(0), requires_grad=False)
            return self._packed

    def _arranged(self, matrix: torch.Tensor) -> torch.Tensor:
        arranged: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(matrix, None)
        return arranged

    def _multiplied(self, values: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            values, packed, self.bias, "none", [], ""
        )
        return found


class Quantized(Packed):
    """A product in whole numbers of eight bits, of what is float32 or bfloat16 before and after.

    Every output has a scale of its own, and so has every row of values, which therefore does not
    depend on what is computed beside it.
    """

    def _arranged(self, matrix: torch.Tensor) -> torch.Tensor:
        weight = matrix.float()
        scales = (weight.abs().amax(1) / MOST).clamp_min_(LEAST_SCALE)
        whole = (weight / scales[:, None]).round_().to(torch.int8)
        self._scales = scales
        self._zeros = torch.zeros(len(scales), dtype=torch.int32)
        arranged: torch.Tensor = torch.ops.onednn.qlinear_prepack(whole, None)
        return arranged

    def _multiplied(self, values: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        # Copied, since it is worked on in place. In float32: torch is slow with several formats.
        rows = values.reshape(-1, values.shape[-1]).to(torch.float32, copy=True)
        scales = (rows.abs().amax(1, keepdim=True) / MOST).clamp_min_(LEAST_SCALE)
        signed = rows.mul_(scales.reciprocal()).round_().to(torch.int8)
        whole = signed.view(torch.uint8).bitwise_xor_(ZERO)
        sums: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            *(whole, 1.0, ZERO, packed, self._scales, self._zeros, None),
            *(1.0, 0, values.dtype, "none", [], ""),
        )
        scales = scales.to(values.dtype)
        found = sums.mul_(scales) if self.bias is None else torch.addcmul(self.bias, sums, scales)
        return found.view(*values.shape[:-1], found.shape[-1])


def product(
    weight: torch.Tensor, bias: torch.Tensor | None, *, whole_numbers: bool
) -> Packed | None:
    """What multiplies with weights faster than torch; None where nothing does.

    Args:
        weight: (out, ...).
        bias: (out,), or None.
        whole_numbers: Whether large matrices may be rounded to eight bits.
    """
    if whole_numbers and min(len(weight), weight[0].numel()) >= LEAST_SIDE:
        return Quantized(weight, bias)
    return Packed(weight, bias) if weight.dtype == torch.bfloat16 else None


def can_pack() -> bool:
    """Whether this torch has the operators, which are not among those that it documents."""
    return _has("mkldnn", "_reorder_linear_weight", "_linear_pointwise")


def can_quantize() -> bool:
    """The same for whole numbers."""
    return can_pack() and _has("onednn", "qlinear_prepack", "qlinear_pointwise")


def _has(library: str, *operators: str) -> bool:
    found: Any = getattr(torch.ops, library)
    return torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
        hasattr(found, name) for name in operators
    )
