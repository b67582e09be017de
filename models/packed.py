"""Weights in the order in which the processor reads them.

Torch brings a matrix of bfloat16 weights into that order at every forward. Here it is done at the
first, which pays most where few items share a forward. Linear layers so give the same numbers to
the last bit. Convolutions of patches and the attention of torch are sums of products, too; there,
torch rounds at other places, and no nearer to the true numbers.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import torch
from torch import nn
from torch.nn import functional


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
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            values, packed, self.bias, "none", [], ""
        )
        return found

    def _pack(self) -> torch.Tensor:
        with self._packing:
            if self._packed is None:
                matrix = self.weight.detach().flatten(1)
                self._packed = torch.ops.mkldnn._reorder_linear_weight(matrix, None)
                self.weight = nn.Parameter(matrix.new_empty(0), requires_grad=False)
            return self._packed


class PackedPatches(Packed):
    """A convolution whose steps are as long as its kernel: a linear layer of patches.

    Args:
        layer: Whose weights it takes.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer.weight, layer.bias)
        self._height, self._width = layer.kernel_size

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (N, C, H, W) to (N, D, h, w)."""
        number, channels, height, width = maps.shape
        rows, columns = height // self._height, width // self._width
        covered = maps[:, :, : rows * self._height, : columns * self._width]
        patches = covered.reshape(number, channels, rows, self._height, columns, self._width)
        found = super().forward(patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))
        return found.transpose(1, 2).reshape(number, -1, rows, columns)


class PackedAttention(nn.Module):
    """Attention of tokens to each other, as `torch.nn.MultiheadAttention` computes it.

    Args:
        layer: Whose weights it takes.
    """

    def __init__(self, layer: nn.MultiheadAttention) -> None:
        super().__init__()
        self._heads = layer.num_heads
        self._inside = Packed(layer.in_proj_weight, layer.in_proj_bias)
        self._outside = Packed(layer.out_proj.weight, layer.out_proj.bias)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None]:
        """Tokens (N, L, D) to (N, L, D).

        Args:
            query: The tokens.
            key: The same.
            value: The same.
            need_weights: Must be False; there are none.
            attn_mask: Added to the logits, (L, L).
        """
        if key is not query or value is not query or need_weights:
            raise NotImplementedError("attention of other kinds is not packed")
        number, length, _ = query.shape
        parts = self._inside(query).view(number, length, 3, self._heads, -1)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=attn_mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        return self._outside(mixed), None


def pack(network: nn.Module) -> None:
    """Replace layers in place; those of other kinds stay."""
    if not can_pack():
        return
    for module in network.modules():
        for name, child in list(module.named_children()):
            if (taken := _packed(child)) is not None:
                setattr(module, name, taken)


def can_pack() -> bool:
    """Whether this torch has the operators, which are not among those that it documents."""
    operators: Any = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
        hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


def _packed(layer: nn.Module) -> nn.Module | None:
    """What takes the place of a layer; layers derived from these may do more, and stay."""
    if any(parameter.dtype != torch.bfloat16 for parameter in layer.parameters(recurse=False)):
        return None
    if type(layer) is nn.Linear:
        return Packed(layer.weight, layer.bias)
    if type(layer) is nn.Conv2d and _is_of_patches(layer):
        return PackedPatches(layer)
    if type(layer) is nn.MultiheadAttention and _is_plain(layer):
        return PackedAttention(layer)
    return None


def _is_of_patches(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == layer.stride
        and layer.padding in ((0, 0), "valid")
        and layer.dilation == (1, 1)
        and layer.groups == 1
    )


def _is_plain(layer: nn.MultiheadAttention) -> bool:
    return (
        layer.batch_first
        and layer.in_proj_weight is not None
        and layer.bias_k is None
        and not layer.add_zero_attn
    )
