"""Products with weights in the order in which the processor reads them.

Torch brings a matrix of weights into that order at every forward. Here it is done at the first,
which pays most where few items share a forward.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import torch
from torch import nn

MIN_INT8_SIDE = 256
"""Smaller matrices gain less by whole numbers than it costs to make them."""
INT8_MAX = 127
UINT8_ZERO_POINT = 128
"""Whole numbers of eight bits are -127 to 127. The processor multiplies those of one side without
a sign, with what stands for zero added: the same bits but the first."""
MIN_SCALE = 1e-30


class PrepackedLinear(nn.Module):
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
        self._packed_weight: torch.Tensor | None = None
        self._pack_lock = Lock()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        packed = (
            self._packed_weight if self._packed_weight is not None else self._get_packed_weight()
        )
        return self._linear(values, packed)

    def _get_packed_weight(self) -> torch.Tensor:
        with self._pack_lock:
            if self._packed_weight is None:
                matrix = self.weight.detach().flatten(1)
                self._packed_weight = self._prepack(matrix)
                self.weight = nn.Parameter(matrix.new_empty(0), requires_grad=False)
            return self._packed_weight

    def _prepack(self, matrix: torch.Tensor) -> torch.Tensor:
        arranged: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(matrix, None)
        return arranged

    def _linear(self, values: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            values, packed, self.bias, "none", [], ""
        )
        return found


class QuantizedLinear(PrepackedLinear):
    """A product in whole numbers of eight bits, of what is float32 or bfloat16 before and after.

    Every output has a scale of its own, and so has every row of values, which therefore does not
    depend on what is computed beside it.
    """

    def _prepack(self, matrix: torch.Tensor) -> torch.Tensor:
        weight = matrix.float()
        scales = (weight.abs().amax(1) / INT8_MAX).clamp_min_(MIN_SCALE)
        whole = (weight / scales[:, None]).round_().to(torch.int8)
        self._weight_scales = scales
        self._weight_zero_points = torch.zeros(len(scales), dtype=torch.int32)
        arranged: torch.Tensor = torch.ops.onednn.qlinear_prepack(whole, None)
        return arranged

    def _linear(self, values: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        # Copied, since it is worked on in place. In float32: torch is slow with several formats.
        rows = values.reshape(-1, values.shape[-1]).to(torch.float32, copy=True)
        scales = (rows.abs().amax(1, keepdim=True) / INT8_MAX).clamp_min_(MIN_SCALE)
        signed = rows.mul_(scales.reciprocal()).round_().to(torch.int8)
        whole = signed.view(torch.uint8).bitwise_xor_(UINT8_ZERO_POINT)
        sums: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            *(
                whole,
                1.0,
                UINT8_ZERO_POINT,
                packed,
                self._weight_scales,
                self._weight_zero_points,
                None,
            ),
            *(1.0, 0, values.dtype, "none", [], ""),
        )
        scales = scales.to(values.dtype)
        found = sums.mul_(scales) if self.bias is None else torch.addcmul(self.bias, sums, scales)
        return found.view(*values.shape[:-1], found.shape[-1])


def make_linear(
    weight: torch.Tensor, bias: torch.Tensor | None, *, int8: bool
) -> PrepackedLinear | None:
    """What multiplies with weights faster than torch; None where nothing does.

    Args:
        weight: (out, ...).
        bias: (out,), or None.
        int8: Whether large matrices may be rounded to eight bits.
    """
    if int8 and min(len(weight), weight[0].numel()) >= MIN_INT8_SIDE:
        return QuantizedLinear(weight, bias)
    return PrepackedLinear(weight, bias) if weight.dtype == torch.bfloat16 else None


def supports_prepacking() -> bool:
    """Whether this torch has the operators, which are not among those that it documents."""
    return _has_operators("mkldnn", "_reorder_linear_weight", "_linear_pointwise")


def supports_quantization() -> bool:
    """The same for whole numbers."""
    return supports_prepacking() and _has_operators(
        "onednn", "qlinear_prepack", "qlinear_pointwise"
    )


def _has_operators(library: str, *operators: str) -> bool:
    found: Any = getattr(torch.ops, library)
    return torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
        hasattr(found, name) for name in operators
    )
