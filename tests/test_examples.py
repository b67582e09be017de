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
    """Both pictures of a place of the demo archive, side by side."""
    out = tmp_path / "out.png"
    monkeypatch.setenv("GEOBENTO_MODELS", small.stored(Galileo).tag)
    where = ["--lon", "34.066", "--lat", "-3.401", "--start", "2023-06-01", "--end", "2023-07-01"]
    monkeypatch.setattr(sys, "argv", ["", str(out), *where, "--buffer-m", "320"])
    principal_components.main()
    with Image.open(out) as picture:
        assert picture.size == (
            2 * principal_components.IMAGE_SIZE,
            principal_components.IMAGE_SIZE,
        )
        assert np.asarray(picture)[:, principal_components.IMAGE_SIZE :].std() > 20


def test_what_all_tiles_share_is_taken_off() -> None:
    """A pattern that repeats from tile to tile leaves nothing, one that does not stays."""
    pattern = np.tile(np.random.default_rng(0).normal(size=(3, 2, 2)), (1, 4, 6))
    ramp = np.repeat(np.arange(12.0) // 2, 8).reshape(12, 8).T[None]
    grid = (pattern + ramp).astype(np.float32)
    ground = principal_components.subtract_position_mean(grid, 2)
    np.testing.assert_allclose(ground, np.broadcast_to(ramp - ramp.mean(), ground.shape), atol=1e-5)
