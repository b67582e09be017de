"""Layers that networks share, against timm and torch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from models.layers.attention import Block, multi_head_attention
from models.layers.patch_embed import kernel_resize_matrix, resized_kernels
from models.layers.positions import sincos_encoding
from models.optional_import import optional_import


@pytest.mark.parametrize("patch_size", [8, 12, 24])
def test_kernels_are_resized_as_timm_does(patch_size: int) -> None:
    """The cached matrix gives the numbers of timm's function."""
    pytest.importorskip("huggingface_hub", reason="the extra `models` is not installed")
    layers = optional_import("timm.layers")
    torch.manual_seed(0)
    kernels = torch.randn(6, 2, 16, 16)
    expected = layers.resample_patch_embed(kernels, [patch_size, patch_size])
    torch.testing.assert_close(resized_kernels(kernels, patch_size), expected, rtol=0, atol=1e-5)


def test_tokens_of_resized_patches() -> None:
    """A patch that is resized to more pixels gives the token that it gave before."""
    torch.testing.assert_close(kernel_resize_matrix(16, 16), torch.eye(256), rtol=0, atol=1e-4)
    generator = torch.Generator().manual_seed(0)
    patch, kernel = torch.randn(2, 1, 1, 16, 16, generator=generator)
    finer = functional.interpolate(patch, (24, 24), mode="bicubic", antialias=True)
    larger = (kernel.flatten() @ kernel_resize_matrix(16, 24).T).reshape(1, 1, 24, 24)
    torch.testing.assert_close(
        functional.conv2d(finer, larger), functional.conv2d(patch, kernel), rtol=0, atol=1e-3
    )


def test_kernels_of_the_same_size_stay() -> None:
    """Nothing is computed where nothing changes."""
    kernels = torch.randn(3, 1, 4, 4)
    assert resized_kernels(kernels, 4) is kernels


def test_the_matrix_serves_training_too() -> None:
    """A matrix that is made in inference mode takes part in gradients."""
    kernel_resize_matrix.cache_clear()
    with torch.inference_mode():
        kernel_resize_matrix(4, 6)
    kernels = torch.randn(2, 1, 4, 4, requires_grad=True)
    resized_kernels(kernels, 6).sum().backward()  # type: ignore[no-untyped-call]
    assert kernels.grad is not None


def test_encodings_hold_sines_and_cosines() -> None:
    """The first frequency is 1, the next ones fall by the period."""
    encoding = sincos_encoding(torch.tensor([0.0, 1.5]), 4, period=8)
    slow = 1.5 / 10_000 ** (1 / 8)
    angles = torch.tensor([1.5, slow], dtype=torch.float64)
    expected = torch.stack([torch.tensor([0.0, 0.0, 1.0, 1.0]).double(),
                            torch.cat([angles.sin(), angles.cos()])])  # fmt: skip
    torch.testing.assert_close(encoding, expected)
    assert sincos_encoding(torch.tensor([2]), 4, dtype=torch.float32).dtype == torch.float32


def test_attention_is_that_of_torch() -> None:
    """Heads are split and merged as in torch's module; a bias hides keys."""
    torch.manual_seed(0)
    dim, heads = 12, 3
    module = torch.nn.MultiheadAttention(dim, heads, bias=False, batch_first=True)
    tokens = torch.randn(2, 5, dim)
    query, key, value = (tokens @ module.in_proj_weight.T).chunk(3, dim=-1)
    mixed = multi_head_attention(query, key, value, heads) @ module.out_proj.weight.T
    torch.testing.assert_close(mixed, module(tokens, tokens, tokens)[0])
    hidden = torch.zeros(5).index_fill(0, torch.tensor([1]), -torch.inf)
    others = [0, 2, 3, 4]
    torch.testing.assert_close(
        multi_head_attention(query, key, value, heads, hidden[None]),
        multi_head_attention(query, key[:, others], value[:, others], heads),
    )


def test_blocks_add_to_their_input() -> None:
    """Without weights in the last layers a block changes nothing."""
    attention = torch.nn.Identity()
    block = Block(8, attention, 2)
    for parameter in (*block.norm1.parameters(), *block.mlp.fc2.parameters()):
        torch.nn.init.zeros_(parameter)
    tokens = torch.randn(1, 3, 8)
    torch.testing.assert_close(block(tokens), tokens)
