"""When a JPEG may be decoded at half its size."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geobento.schemas.cards import ImageInput
from models.preprocessing.images import resize_and_crop
from models.preprocessing.jpeg_draft import MIN_DOWNSCALE, can_decode_at_half_size
from models.registry import list_model_classes
from tests.conftest import ROOT

SIZE = 64
SHAPE = (2 * MIN_DOWNSCALE * SIZE, 2 * MIN_DOWNSCALE * SIZE * 4 // 3 // 2 * 2)
"""The smallest image that is decoded at half its size, (height, width)."""


def ways() -> list[Any]:
    """Every card's ways of bringing images to its network, at a size that tests can afford."""
    result = []
    for family in list_model_classes():
        card = family.card
        for name, spec in {"native": card.image, **card.image_alternatives}.items():
            if spec is not None and spec.resize != "none":
                crop = None if spec.crop is None or spec.size is None else SIZE * 7 // 8
                small = spec.model_copy(update={"size": SIZE, "crop": crop})
                result.append(pytest.param(small, id=f"{card.id}-{name}"))
    return result


def smooth() -> NDArray[np.float64]:
    """Slow waves."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[0]
    return 127 + 100 * np.stack([np.sin(5 * x + 3 * y), np.cos(7 * x), np.sin(6 * y)], axis=-1)


def natural() -> NDArray[np.float64]:
    """Noise with the spectrum of natural images, 1/f."""
    random = np.random.default_rng(0)
    rows, columns = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    channels = [
        np.fft.irfft2(np.fft.rfft2(random.normal(size=SHAPE)) / frequency, s=SHAPE)
        for _ in range(3)
    ]
    grey, colours = channels[0], np.stack(channels, axis=-1)
    mixed = grey[..., None] + 0.2 * colours
    return np.asarray(127 + 45 * mixed / mixed.std())


def photo() -> NDArray[np.float64]:
    """A photograph, enlarged."""
    with Image.open(ROOT / "tests" / "data" / "field.jpg") as image:
        large = image.convert("RGB").resize(SHAPE[::-1], Image.Resampling.LANCZOS)
    return np.asarray(large, np.float64)


def sensor_noise() -> NDArray[np.float64]:
    """A photograph in little light."""
    return photo() + np.random.default_rng(0).normal(0, 15, (*SHAPE, 3))


def text() -> NDArray[np.float64]:
    """A page of text, black on white."""
    page = Image.new("RGB", SHAPE[::-1], "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    letters = np.random.default_rng(0).choice(list("abcdefghij  "), (SHAPE[0] // 22, 140))
    for row, line in enumerate(letters):
        draw.text((0, 22 * row), "".join(line), fill="black", font=font)
    return np.asarray(page, np.float64)


def checks() -> NDArray[np.float64]:
    """Red and blue squares."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] // 29
    odd = ((x + y) % 2).astype(bool)[..., None]
    return np.where(odd, (255.0, 0.0, 0.0), (0.0, 0.0, 255.0))


def network_input(image: Image.Image, spec: ImageInput) -> NDArray[np.float64]:
    """What the network reads, as one vector."""
    values = resize_and_crop(image, spec).astype(np.float64) / 255
    return np.asarray((values - spec.mean) / spec.std).ravel()


@pytest.mark.parametrize("spec", ways())
@pytest.mark.parametrize("scene", [smooth, natural, photo, sensor_noise, text, checks])
def test_the_network_cannot_tell(
    scene: Callable[[], NDArray[np.float64]], spec: ImageInput
) -> None:
    """At the smallest size where it is done, the half gives the same network input as the whole."""
    assert can_decode_at_half_size(SHAPE[1], SHAPE[0], spec)
    buffer = io.BytesIO()
    Image.fromarray(scene().clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    with Image.open(buffer) as whole, Image.open(buffer) as half:
        half.draft(None, (SHAPE[1] // 2, SHAPE[0] // 2))
        assert half.size == (SHAPE[1] // 2, SHAPE[0] // 2)
        one, other = network_input(whole, spec), network_input(half, spec)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert cosine >= 0.9999


@pytest.mark.parametrize(
    ("width", "height", "fields", "half"),
    [
        (2986, 2240, {"resize": "shorter_side", "size": 224}, True),
        (2240, 2986, {"resize": "shorter_side", "size": 224}, True),
        (4032, 3024, {"resize": "shorter_side", "size": 256}, True),
        (2986, 2238, {"resize": "shorter_side", "size": 224}, False),
        (2985, 2240, {"resize": "shorter_side", "size": 224}, False),
        (2986, 2241, {"resize": "shorter_side", "size": 224}, False),
        (2560, 2560, {"resize": "squash", "size": 256}, True),
        (20000, 2558, {"resize": "squash", "size": 256}, False),
        (2558, 20000, {"resize": "squash", "size": 256}, False),
        (20000, 20000, {"resize": "none"}, False),
        (20000, 20000, {"resize": "none", "size": 8}, False),
        (20000, 20000, {"resize": "squash"}, False),
        (2, 2, {"resize": "squash", "size": 256}, False),
    ],
)
def test_conditions_of_the_half_size(
    width: int, height: int, fields: dict[str, Any], half: bool
) -> None:
    """Large enough in both sides, even, and resized; however the camera was held."""
    spec = ImageInput(modality="rgb", **fields)
    assert can_decode_at_half_size(width, height, spec) is half
    assert can_decode_at_half_size(height, width, spec) is half
