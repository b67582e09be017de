"""Patch embedding kernels of any size."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


@cache
def kernel_resize_matrix(kernel_size: int, patch_size: int) -> Tensor:
    """Matrix (patch_size ** 2, kernel_size ** 2) that brings flat kernels to another size.

    It is the pseudo-inverse of the transposed bicubic, antialiased resize of a patch, as in
    FlexiViT (Beyer et al., 2212.08013): a resized patch and the resized kernel give the same token
    as the patch and the stored kernel, as nearly as possible. timm's `resample_patch_embed` gives
    the same numbers, but inverts the matrix in every call.
    """
    # A tensor made in inference mode could not be used where gradients are recorded.
    with torch.inference_mode(False):
        pixels = torch.eye(kernel_size**2).reshape(-1, 1, kernel_size, kernel_size)
        resized = functional.interpolate(
            pixels, (patch_size, patch_size), mode="bicubic", antialias=True, align_corners=False
        )
        inverse: Tensor = torch.linalg.pinv(resized.flatten(1).double())
        return inverse.float()


def resized_kernels(kernels: Tensor, patch_size: int) -> Tensor:
    """Kernels (D, C, k, k) at another size, (D, C, patch_size, patch_size)."""
    kernel_size = kernels.shape[-1]
    if patch_size == kernel_size:
        return kernels
    matrix = kernel_resize_matrix(kernel_size, patch_size).to(kernels)
    return (kernels.flatten(2) @ matrix.T).view(*kernels.shape[:2], patch_size, patch_size)
