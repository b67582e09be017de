"""Sentinel-2 as images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.clip.remoteclip import RemoteClip
from models.preprocessing import true_color

CARD = RemoteClip.card

BANDS = ("B4", "B3", "B2")


def rendered(pixels: NDArray[np.float32], bands: tuple[str, ...] = BANDS) -> NDArray[np.generic]:
    assert CARD.image is not None
    return true_color.render_image(Sample(pixels, bands, "s2_rgb"), CARD, CARD.image)


@pytest.mark.parametrize(
    ("value", "level"), [(-20, 0), (0, 0), (1078.4, 100), (2750, 255), (9000, 255)]
)
def test_levels(value: float, level: int) -> None:
    """Reflectances from 0 to 0.275 fill the range; what lies outside is cut off."""
    result = rendered(np.full((3, 20, 20), value, np.float32))
    assert result.shape == (224, 224, 3)
    assert np.unique(result).tolist() == [level]


def test_channels() -> None:
    """Red, green, blue."""
    planes = np.full((3, 20, 20), 0, np.float32)
    planes[0] = 2750
    assert rendered(planes)[100, 100].tolist() == [255, 0, 0]


@pytest.mark.parametrize("shape", [(16, 300), (300, 16), (224, 224), (500, 410)])
def test_nothing_is_cut_off(shape: tuple[int, int]) -> None:
    """All four corners of a region are in the corners of the image, whatever its shape."""
    height, width = shape
    planes = np.zeros((3, height, width), np.float32)
    rows, columns = (max(1, side // 8) for side in shape)
    planes[0, :rows, :columns] = 2750
    planes[1, :rows, -columns:] = 2750
    planes[2, -rows:, :columns] = 2750
    result = rendered(planes)
    assert result[2, 2].tolist() == [255, 0, 0]
    assert result[2, -3].tolist() == [0, 255, 0]
    assert result[-3, 2].tolist() == [0, 0, 255]
    assert result[-3, -3].tolist() == [0, 0, 0]


def test_rejected_samples() -> None:
    """Other bands, and regions of a few pixels, are refused with what is accepted."""
    with pytest.raises(ModelError, match="B4, B3, B2"):
        rendered(np.zeros((3, 20, 20), np.float32), ("B2", "B3", "B4"))
    with pytest.raises(ModelError, match="at least 16 x 16"):
        rendered(np.zeros((3, 20, 15), np.float32))
