"""The check of fetched pixels that a request may ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geobento.schemas.errors import SourceError
from geobento.schemas.sample import PixelGrid, Sample
from geobento.schemas.specs import SensorSpec
from imagery.query import ImageQuery
from pipeline.inputs.input_checks import check_pixels

BANDS = ("B4", "B3", "B2")
GRID = PixelGrid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 8, 8)
GOOD = np.random.default_rng(0).integers(200, 4000, (3, 8, 8)).astype(np.float32)
FLAT = np.zeros((3, 8, 8), np.float32)


def checked(pixels: np.ndarray[Any, Any], **settings: Any) -> list[str]:
    """What the check says of pixels."""
    sensor = SensorSpec("COPERNICUS/S2_SR_HARMONIZED", BANDS, **settings)
    start, end = datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    return check_pixels(Sample(pixels, BANDS, "s2"), ImageQuery(sensor, GRID, start, end, "s2"))


def test_nothing_is_checked_unless_asked() -> None:
    """The check costs time and is off by default."""
    assert checked(FLAT) == []


def test_good_pixels_pass() -> None:
    """With or without raising."""
    assert checked(GOOD, check_input=True) == []


def test_odd_pixels_raise_or_warn() -> None:
    """`check_raise` decides between an error that lists what is odd and words in the metadata."""
    with pytest.raises(SourceError, match="B4 is 0 everywhere; B3 is 0") as caught:
        checked(FLAT, check_input=True)
    warnings = checked(FLAT, check_input=True, check_raise=False)
    assert caught.value.detail == {"problems": warnings}
    assert len(warnings) == 3


def test_an_image_is_saved(tmp_path: Path) -> None:
    """Also of pixels that fail the check: that is when it is wanted."""
    folder = tmp_path / "new" / "folder"
    with pytest.raises(SourceError):
        checked(FLAT, check_input=True, check_save_dir=str(folder))
    (path,) = folder.iterdir()
    assert Image.open(path).size == (8, 8)
    checked(GOOD, check_input=True, check_save_dir=str(folder), scale_m=20)
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the parameter and no path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError) as caught:
        checked(GOOD, check_input=True, check_save_dir=str(tmp_path / "file" / "below"))
    assert caught.value.field == "sensor.check_save_dir"
    assert str(tmp_path) not in caught.value.message
