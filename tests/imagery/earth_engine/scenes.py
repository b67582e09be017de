"""Queries and scenes for tests of Earth Engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from geobento import SensorSpec, TemporalSpec
from geobento.schemas.errors import (
    GeoBentoError,
)
from geobento.schemas.sample import PixelGrid, Sample
from imagery.query import ImageQuery
from tests.imagery.catalogs import GRID
from tests.imagery.world import S2, WorldScene

SENSOR = SensorSpec(S2, ("B4", "B8"))

WINDOW = TemporalSpec.range("2023-06-01", "2023-07-01").window


def query(pixel_grid: PixelGrid = GRID, **sensor: Any) -> ImageQuery:
    """June at the test's region."""
    return ImageQuery(replace(SENSOR, **sensor), pixel_grid, *WINDOW, "s2")


def scene(day: int, **given: Any) -> WorldScene:
    """A scene of a day in June with its own numbers."""
    return WorldScene(f"scene-{day:02}", f"2023-06-{day:02}T08:00:00Z", seed=day, **given)


def bands_of(world_scene: WorldScene) -> Any:
    """Both bands, (C, H, W)."""
    return np.stack([world_scene.band(band) for band in SENSOR.bands])


def names(sample: Sample) -> list[str]:
    """The scenes that an answer names, without their collection."""
    assert sample.provenance is not None
    return [used.id.rsplit("/", 1)[1] for used in sample.provenance.scenes]


def sample_or_error(source: Any, asked: ImageQuery) -> Sample | GeoBentoError:
    try:
        return source.fetch(asked)  # type: ignore[no-any-return]
    except GeoBentoError as error:
        return error
