"""Replacing layers of a network by faster ones for CPUs.

Linear layers in bfloat16 give equal numbers; for a single row, the order of summation may differ.
Patch convolutions and torch's attention become linear layers too. They round at other places than
torch's, with errors of the same size.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from inference.engines.quantized_linear import PrepackedLinear, make_linear
from inference.operators import supports_prepacking


class PrepackedPatchConv(PrepackedLinear):
    """A convolution whose stride equals its kernel size, as a linear layer of patches.

    Args:
        layer: The convolution; its weights are used.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer.weight, layer.bias)
        self._kernel_height, self._kernel_width = layer.kernel_size

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, D, h, w)."""
        number, channels, height, width = maps.shape
        rows, columns = height // self._kernel_height, width // self._kernel_width
        covered = maps[:, :, : rows * self._kernel_height, : columns * self._kernel_width]
        patches = covered.reshape(
            number, channels, rows, self._kernel_height, columns, self._kernel_width
        )
        tokens = super().forward(patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))
        return tokens.transpose(1, 2).reshape(number, -1, rows, columns)


class PrepackedAttention(nn.Module):
    """Self-attention as in `torch.nn.MultiheadAttention`.

    Args:
        num_heads: Number of heads.
        qkv_proj: Projects tokens to queries, keys and values.
        out_proj: Projects the concatenated heads.
    """

    def __init__(self, num_heads: int, qkv_proj: nn.Module, out_proj: nn.Module) -> None:
        super().__init__()
        self._num_heads = num_heads
        self._qkv_proj = qkv_proj
        self._out_proj = out_proj

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
            key: The same tensor.
            value: The same tensor.
            need_weights: Must be False.
            attn_mask: Added to the logits, (L, L).

        Raises:
            NotImplementedError: Cross-attention, or attention weights are requested.
        """
        if key is not query or value is not query or need_weights:
            raise NotImplementedError("only self-attention without attention weights is prepacked")
        number, length, _ = query.shape
        parts = self._qkv_proj(query).view(number, length, 3, self._num_heads, -1)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=attn_mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        tokens: torch.Tensor = self._out_proj(mixed)
        return tokens, None


def prepack_layers(network: nn.Module, *, int8: bool = False) -> None:
    """Replace the supported layers of a network in place.

    Args:
        network: In float32 or bfloat16.
        int8: Whether large linear layers are quantized.
    """
    if not supports_prepacking():
        return
    for module in network.modules():
        for name, child in list(module.named_children()):
            if (replacement := _prepack_layer(child, int8)) is not None:
                setattr(module, name, replacement)


def _prepack_layer(layer: nn.Module, int8: bool) -> nn.Module | None:
    """The replacement of a layer, or None. Subclasses may do more, so they are not replaced."""
    if type(layer) is nn.Linear:
        return make_linear(layer.weight, layer.bias, int8=int8)
    if type(layer) is nn.Conv2d and layer.weight.dtype == torch.bfloat16 and _is_patch_conv(layer):
        return PrepackedPatchConv(layer)
    if type(layer) is nn.MultiheadAttention and _is_supported_attention(layer):
        qkv_proj = make_linear(layer.in_proj_weight, layer.in_proj_bias, int8=int8)
        out_proj = make_linear(layer.out_proj.weight, layer.out_proj.bias, int8=int8)
        if qkv_proj is not None and out_proj is not None:
            return PrepackedAttention(layer.num_heads, qkv_proj, out_proj)
    return None


def _is_patch_conv(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == layer.stride
        and layer.padding in ((0, 0), "valid")
        and layer.dilation == (1, 1)
        and layer.groups == 1
    )


def _is_supported_attention(layer: nn.MultiheadAttention) -> bool:
    return (
        layer.batch_first
        and layer.in_proj_weight is not None
        and layer.bias_k is None
        and not layer.add_zero_attn
    )
