"""Layers replaced by others that do the same on a CPU in less time.

Linear layers in bfloat16 give the same numbers; of a single row, sums may be in another order.
Convolutions of patches and the attention of torch are sums of products, too; there, torch rounds at
other places, and no nearer to the true numbers.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from inference.engines.quantized_linear import Packed, can_pack, product


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
        heads: How many.
        inside: Makes queries, keys and values of tokens.
        outside: Mixes what the heads found.
    """

    def __init__(self, heads: int, inside: nn.Module, outside: nn.Module) -> None:
        super().__init__()
        self._heads = heads
        self._inside = inside
        self._outside = outside

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
        found: torch.Tensor = self._outside(mixed)
        return found, None


def pack(network: nn.Module, *, whole_numbers: bool = False) -> None:
    """Replace layers in place; those of other kinds stay.

    Args:
        network: In float32 or bfloat16.
        whole_numbers: Whether large products may be in whole numbers of eight bits.
    """
    if not can_pack():
        return
    for module in network.modules():
        for name, child in list(module.named_children()):
            if (taken := _packed(child, whole_numbers)) is not None:
                setattr(module, name, taken)


def _packed(layer: nn.Module, whole_numbers: bool) -> nn.Module | None:
    """What takes the place of a layer; layers derived from these may do more, and stay."""
    if type(layer) is nn.Linear:
        return product(layer.weight, layer.bias, whole_numbers=whole_numbers)
    if type(layer) is nn.Conv2d and layer.weight.dtype == torch.bfloat16 and _is_of_patches(layer):
        return PackedPatches(layer)
    if type(layer) is nn.MultiheadAttention and _is_plain(layer):
        inside = product(layer.in_proj_weight, layer.in_proj_bias, whole_numbers=whole_numbers)
        last = layer.out_proj
        outside = product(last.weight, last.bias, whole_numbers=whole_numbers)
        if inside is not None and outside is not None:
            return PackedAttention(layer.num_heads, inside, outside)
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
