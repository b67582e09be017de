"""Weights of linear layers in the order in which the processor reads them.

Torch brings a matrix of bfloat16 weights into that order at every forward. Here it is done once,
which pays most where few items share a forward. The numbers are the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class PackedLinear(nn.Module):
    """A linear layer for inference in bfloat16 on a CPU.

    Args:
        layer: Whose weights it takes; to be dropped after.

    Attributes:
        weight: Tells the type and the device to those who ask; it holds no numbers.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        self.weight = layer.weight.detach().new_empty(0)
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            values, self._packed, self._bias, "none", [], ""
        )
        return found


def pack(network: nn.Module) -> None:
    """Replace linear layers in place; those of other kinds, or whose weights others read, stay."""
    if not can_pack():
        return
    for module in network.modules():
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child.weight.dtype == torch.bfloat16:
                setattr(module, name, PackedLinear(child))


def can_pack() -> bool:
    """Whether this torch has the operators, which are not among those that it documents."""
    operators: Any = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
        hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )
