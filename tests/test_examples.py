"""The examples run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples import principal_components
from models.galileo.model import Galileo
from tests.models import small


def test_principal_components(
    demo_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both images of a region of the demo archive, side by side."""
    out = tmp_path / "out.png"
    monkeypatch.setenv("GEOBENTO_MODELS", small.stored(Galileo).tag)
    arguments = [
        "--lon",
        "34.066",
        "--lat",
        "-3.401",
        "--start",
        "2023-06-01",
        "--end",
        "2023-07-01",
    ]
    monkeypatch.setattr(sys, "argv", ["", str(out), *arguments, "--buffer-m", "320"])
    principal_components.main()
    with Image.open(out) as image:
        assert image.size == (
            2 * principal_components.IMAGE_SIZE,
            principal_components.IMAGE_SIZE,
        )
        assert np.asarray(image)[:, principal_components.IMAGE_SIZE :].std() > 20


def test_the_mean_over_tiles_is_subtracted() -> None:
    """A pattern that repeats from tile to tile is removed, one that does not stays."""
    pattern = np.tile(np.random.default_rng(0).normal(size=(3, 2, 2)), (1, 4, 6))
    ramp = np.repeat(np.arange(12.0) // 2, 8).reshape(12, 8).T[None]
    grid = (pattern + ramp).astype(np.float32)
    residual = principal_components.subtract_position_mean(grid, 2)
    np.testing.assert_allclose(
        residual, np.broadcast_to(ramp - ramp.mean(), residual.shape), atol=1e-5
    )
