"""Queries, scenes and sources for tests of STAC APIs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geobento import SensorSpec, TemporalSpec
from geobento.schemas.sample import PixelGrid, Sample
from imagery.query import ImageQuery
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID
from tests.imagery.stac_server import StacServer
from tests.imagery.world import S2, WorldScene, write_catalog

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


def served(stac: StacServer, folder: Path, *scenes: WorldScene) -> StacSource:
    """A source over the API that has these scenes."""
    write_catalog(list(scenes), SENSOR.bands, folder)
    return opened(stac, folder)


def opened(stac: StacServer, folder: Path, timeout_s: float = 20) -> StacSource:
    """A source over the API of a folder."""
    catalog = open_catalog(stac.api(folder), timeout_s=timeout_s)
    return StacSource(catalog, timeout_s=timeout_s)


def names(sample: Sample) -> list[str]:
    """The scenes that an answer names."""
    assert sample.provenance is not None
    return [used.id for used in sample.provenance.scenes]
