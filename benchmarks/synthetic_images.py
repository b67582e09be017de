"""Invented photographs: smooth shapes, texture and a little noise, as JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIZES = {
    "320x240": (320, 240),
    "640x480": (640, 480),
    "1280x960": (1280, 960),
    "12MP": (4000, 3000),
}


def make_jpeg(size: tuple[int, int], seed: int, quality: int = 90) -> bytes:
    """One image of (width, height)."""
    random = np.random.default_rng(seed)
    width, height = size
    layers = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 0.5), (16, 0.25), (64, 0.15), (256, 0.1)):
        coarse = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        layers += weight * np.asarray(smooth, np.float32)
    layers += random.normal(0, 3, layers.shape).astype(np.float32)
    buffer = io.BytesIO()
    Image.fromarray(layers.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def make_jpegs(size: tuple[int, int], count: int) -> list[bytes]:
    """Different images of one size."""
    return [make_jpeg(size, seed) for seed in range(count)]
