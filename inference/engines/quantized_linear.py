"""Linear layers with prepacked weights, in bfloat16 or int8.

Torch reorders a weight matrix for the processor in every forward pass. These layers do so once, in
the first pass, which gains most for small batches.
"""

from __future__ import annotations

from threading import Lock

import torch
from torch import nn

MIN_INT8_SIDE = 256
"""For smaller matrices, quantizing the inputs costs more than int8 gains."""
INT8_MAX = 127
UINT8_ZERO_POINT = 128
"""Quantized values are -127 to 127. The processor multiplies unsigned inputs with signed weights,
so this offset is added to the inputs. Adding it flips the first bit and changes no other."""
MIN_SCALE = 1e-30
"""Avoids a division by zero for rows of zeros."""


class PrepackedLinear(nn.Module):
    """A linear layer for inference in bfloat16 on a CPU.

    The weights are packed at the first call. If other code reads them instead of calling this
    layer, as the attention of open_clip's residual networks does, they stay unpacked.

    Args:
        weight: (out, ...); all axes but the first are summed over.
        bias: (out,), or None.

    Attributes:
        weight: The weights; once they are packed, an empty tensor of the same dtype.
        bias: The bias, or None.
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
        packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(matrix, None)
        return packed

    def _linear(self, values: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            values, packed, self.bias, "none", [], ""
        )
        return out


class QuantizedLinear(PrepackedLinear):
    """A linear layer that multiplies in int8; inputs and outputs are float32 or bfloat16.

    Weights have one scale per output. Inputs have one scale per row, so the result of a row does
    not depend on the rest of the batch.
    """

    def _prepack(self, matrix: torch.Tensor) -> torch.Tensor:
        weight = matrix.float()
        scales = (weight.abs().amax(1) / INT8_MAX).clamp_min_(MIN_SCALE)
        quantized = (weight / scales[:, None]).round_().to(torch.int8)
        self._weight_scales = scales
        self._weight_zero_points = torch.zeros(len(scales), dtype=torch.int32)
        packed: torch.Tensor = torch.ops.onednn.qlinear_prepack(quantized, None)
        return packed

    def _linear(self, values: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        # A copy, since it is changed in place. In float32, since mixed dtypes are slow in torch.
        rows = values.reshape(-1, values.shape[-1]).to(torch.float32, copy=True)
        scales = (rows.abs().amax(1, keepdim=True) / INT8_MAX).clamp_min_(MIN_SCALE)
        signed = rows.mul_(scales.reciprocal()).round_().to(torch.int8)
        quantized = signed.view(torch.uint8).bitwise_xor_(UINT8_ZERO_POINT)
        sums: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            *(
                quantized,
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
        out = sums.mul_(scales) if self.bias is None else torch.addcmul(self.bias, sums, scales)
        return out.view(*values.shape[:-1], out.shape[-1])


def make_linear(
    weight: torch.Tensor, bias: torch.Tensor | None, *, int8: bool
) -> PrepackedLinear | None:
    """A linear layer that is faster than torch's; None if there is none.

    Args:
        weight: (out, ...).
        bias: (out,), or None.
        int8: Whether large matrices are quantized.
    """
    if int8 and min(len(weight), weight[0].numel()) >= MIN_INT8_SIDE:
        return QuantizedLinear(weight, bias)
    return PrepackedLinear(weight, bias) if weight.dtype == torch.bfloat16 else None
