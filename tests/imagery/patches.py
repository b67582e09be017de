"""Samples to keep, and a source that counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import numpy as np

from geobento.schemas.errors import SourceError
from geobento.schemas.sample import Provenance, Sample, Scene
from geobento.schemas.specs import SensorSpec, TemporalSpec
from imagery.query import ImageQuery
from imagery.source import FetchEstimate
from tests.imagery.catalogs import GRID
from tests.imagery.world import S2

JUNE = TemporalSpec.range("2023-06-01", "2023-07-01").window
QUERY = ImageQuery(SensorSpec(S2, ("B4",)), GRID, *JUNE, "s2")


def sample_of(seed: int, side: int = 24, **given: Any) -> Sample:
    """A sample whose pixels follow from a number."""
    random = np.random.default_rng(seed)
    pixels = random.normal(size=(2, side, side)).astype(np.float32)
    pixels[0, 0] = np.nan, *([-0.0] * (side - 1))
    scene = Scene(f"scene-{seed}", datetime(2023, 6, 3, 8, 1, 2, 345_678, UTC), 1 / 3, True)
    fields: dict[str, Any] = {
        "valid": random.random((side, side)) < 0.5,
        "grid": GRID,
        "times": (scene.time,),
        "provenance": Provenance("stac", "a catalog", (scene,), "invented"),
    }
    return Sample(pixels, ("B4", "B8"), "s2", **{**fields, **given})


class Counting:
    """A source that counts, and answers with what a function makes of the query."""

    backend = "stac"

    def __init__(self, answer: Callable[[ImageQuery], Sample] | None = None) -> None:
        self.answer = answer or (lambda query: sample_of(round(query.grid.transform[2])))
        self.fetches = 0
        self._lock = Lock()

    def fetch(self, query: ImageQuery) -> Sample:
        with self._lock:
            self.fetches += 1
        return self.answer(query)

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        raise SourceError("estimates are asked of the source itself")
