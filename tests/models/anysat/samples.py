"""A small AnySat, and samples for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.sample import Sample
from models.anysat.card import CARD
from models.anysat.model import AnySat
from tests.models import small

CONFIG = small.config(AnySat)
MODEL = AnySat(CONFIG)
FINE = MODEL.with_options({"patch_size": 20})
JUNE = datetime(2021, 6, 15, tzinfo=UTC)


def dates(count: int) -> tuple[datetime, ...]:
    """Instants, 40 days apart."""
    return tuple(JUNE + timedelta(days=40 * number) for number in range(count))


def noise(*shape: int) -> NDArray[np.float32]:
    """Numbers from 0 to 1, the same for every shape."""
    return np.random.default_rng(sum(shape)).random(shape, np.float32)


def s2(*shape: int, **fields: Any) -> Sample:
    """Sentinel-2 digital numbers with a date per frame."""
    fields = {
        "bands": CARD.modalities["s2"].sensor.bands,
        "modality": "s2",
        "times": dates(_frames(shape)),
        **fields,
    }
    return Sample(8000 * noise(*shape), **fields)


def s1(*shape: int, **fields: Any) -> Sample:
    """Radar power with a date per frame."""
    return Sample(
        0.01 + noise(*shape), ("VV", "VH"), "s1", **{"times": dates(_frames(shape)), **fields}
    )


def aerial(side: int, **fields: Any) -> Sample:
    """Brightness of square ground, `side` meters."""
    return Sample(255 * noise(4, 5 * side, 5 * side), ("R", "G", "B", "N"), "aerial", **fields)


def _frames(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) == 4 else 1
