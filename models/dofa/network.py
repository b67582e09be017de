"""DOFA: a vision transformer whose patch embedding is generated from wavelengths.

Source: Xiong et al., Neural Plasticity-Inspired Multimodal Foundation Model for Earth
Observation, 2403.15356.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.positions import sincos_encoding
from models.optional_import import optional_import

WAVELENGTH_DIM = 128
"""Width of the layers that generate the kernels."""
GENERATED_WEIGHT_SCALE = 0.01
"""Factor on the generated kernels and biases."""
KERNEL_CACHE_SIZE = 16
"""Sets of wavelengths whose kernels are cached."""


def encode_wavelengths(wavelengths_pm: Tensor, dim: int = WAVELENGTH_DIM) -> Tensor:
    """Sines, then cosines, of wavelengths in nanometers.

    Args:
        wavelengths_pm: (C,) integers, picometers.
        dim: Length of an encoding.

    Returns:
        (C, dim) float32.
    """
    # In float32 as in the reference implementation: the angles of long wavelengths round visibly.
    nanometers = (wavelengths_pm.double() / 1e6).float() * 1000
    return sincos_encoding(nanometers, dim, dtype=torch.float32)


class ResidualMLP(nn.Module):
    """Two linear layers, each followed by a ReLU, with a residual connection."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(planes, planes)
        self.w2 = nn.Linear(planes, planes)

    def forward(self, x: Tensor) -> Tensor:
        """(C, planes) to (C, planes)."""
        return x + functional.relu(self.w2(functional.relu(self.w1(x))))


class WeightGenerator(nn.Module):
    """A transformer layer over learned tokens and wavelengths that gives kernels and biases."""

    def __init__(self, planes: int, patch_size: int, dim: int) -> None:
        super().__init__()
        self.kernel_shape = patch_size, patch_size, dim
        self.weight_tokens = nn.Parameter(torch.randn(planes, planes) * 0.02)
        self.bias_token = nn.Parameter(torch.randn(1, planes) * 0.02)
        layer = nn.TransformerEncoderLayer(planes, 4, 2048, dropout=0.0, activation="gelu")
        self.transformer_encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.fc_weight = nn.Linear(planes, patch_size * patch_size * dim)
        self.fc_bias = nn.Linear(planes, dim)

    def forward(self, wavelength_encodings: Tensor) -> tuple[Tensor, Tensor]:
        """Kernels (D, C, p, p) and biases (D,) for encoded wavelengths (C, planes)."""
        learned = len(self.weight_tokens)
        tokens = self.transformer_encoder(
            torch.cat([self.weight_tokens, wavelength_encodings, self.bias_token])
        )
        kernels = self.fc_weight(tokens[learned:-1] + wavelength_encodings)
        kernels = kernels.unflatten(1, self.kernel_shape).permute(3, 0, 1, 2)
        biases = self.fc_bias(tokens[-1])
        return kernels * GENERATED_WEIGHT_SCALE, biases * GENERATED_WEIGHT_SCALE


class PatchEmbed(nn.Module):
    """Patches of any bands to tokens; the kernels of a set of wavelengths are cached."""

    def __init__(self, planes: int, patch_size: int, dim: int) -> None:
        super().__init__()
        self.planes = planes
        self.patch_size = patch_size
        self.fclayer = ResidualMLP(planes)
        self.weight_generator = WeightGenerator(planes, patch_size, dim)
        self._kernel_cache: OrderedDict[tuple[int, ...], tuple[Tensor, Tensor]] = OrderedDict()
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]
            lambda *_: self._kernel_cache.clear()
        )

    def forward(self, image: Tensor, wavelengths_pm: tuple[int, ...]) -> Tensor:
        """Tokens (B, h * w, D) of an image (B, C, H, W).

        As in the reference implementation, the image is padded by one pixel, and pixels that fill
        no patch at the other edges are dropped.
        """
        kernels, biases = self.kernels(wavelengths_pm)
        tokens = functional.conv2d(image, kernels, biases, stride=self.patch_size, padding=1)
        return tokens.flatten(2).transpose(1, 2)

    def kernels(self, wavelengths_pm: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Kernels (D, C, p, p) and biases (D,) for bands at these wavelengths."""
        if torch.is_grad_enabled():
            return self._generate_kernels(wavelengths_pm)
        if wavelengths_pm not in self._kernel_cache:
            self._kernel_cache[wavelengths_pm] = self._generate_kernels(wavelengths_pm)
            if len(self._kernel_cache) > KERNEL_CACHE_SIZE:
                self._kernel_cache.popitem(last=False)
        self._kernel_cache.move_to_end(wavelengths_pm)
        return self._kernel_cache[wavelengths_pm]

    def _generate_kernels(self, wavelengths_pm: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        weight = self.fclayer.w1.weight
        wavelengths = torch.tensor(wavelengths_pm, device=weight.device)
        encodings = encode_wavelengths(wavelengths, self.planes).to(weight.dtype)
        kernels: tuple[Tensor, Tensor] = self.weight_generator(self.fclayer(encodings))
        return kernels

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._kernel_cache.clear()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class DofaEncoder(nn.Module):
    """Class token and patch tokens of an image of fixed size and any bands.

    Args:
        img_size: Side of the image, pixels.
        patch_size: Side of a patch, pixels.
        embed_dim: D.
        depth: Blocks.
        num_heads: Heads of each block.
        norm_eps: Added to variances.
        wv_planes: Length of the encoding of a wavelength.
    """

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        norm_eps: float,
        wv_planes: int,
    ) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=norm_eps)
        block: Any = optional_import("timm.models.vision_transformer").Block
        self.grid_size = img_size // patch_size
        self.patch_embed = PatchEmbed(wv_planes, patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + self.grid_size**2, embed_dim) * 0.02)
        self.blocks = nn.ModuleList(
            block(embed_dim, num_heads, 4.0, qkv_bias=True, norm_layer=norm) for _ in range(depth)
        )
        self.fc_norm = norm(embed_dim)

    def forward(self, image: Tensor, wavelengths_pm: tuple[int, ...]) -> Tensor:
        """Tokens (B, 1 + h * w, D) after the last block, the class token first, not normed."""
        patches = self.patch_embed(image, wavelengths_pm) + self.pos_embed[:, 1:]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(image), -1, -1)
        tokens = torch.cat([first, patches], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens
