"""A small Galileo, and samples for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from geobento.schemas.sample import Sample
from models.galileo.card import CARD, S2_BANDS
from models.galileo.model import Galileo
from tests.models import small

CONFIG = small.config(Galileo)
MODEL = Galileo(CONFIG)


def s2(*shape: int, bands: tuple[str, ...] = S2_BANDS, **fields: Any) -> Sample:
    """Sentinel-2 digital numbers: noise."""
    pixels = np.random.default_rng(sum(shape)).integers(1, 8000, shape).astype(np.float32)
    return Sample(pixels, bands, "s2", **fields)


def auxiliary(name: str, *shape: int) -> Sample:
    """An auxiliary input: noise from 0 to 1."""
    pixels = np.random.default_rng(len(name)).random(shape, np.float32)
    return Sample(pixels, CARD.modalities[name].sensor.bands, name)


def all_auxiliary(frames: int, side: int) -> dict[str, Sample]:
    """Every auxiliary input."""
    return {
        "s1": auxiliary("s1", frames, 2, side, side),
        "srtm": auxiliary("srtm", 2, side, side),
        "dynamic_world": auxiliary("dynamic_world", 9, side, side),
        "worldcereal": auxiliary("worldcereal", 5, side, side),
        "era5": auxiliary("era5", frames, 2, 1, 1),
        "terraclimate": auxiliary("terraclimate", frames, 3, 1, 1),
        "viirs": auxiliary("viirs", frames, 1, 1, 1),
        "landscan": auxiliary("landscan", 1, 1, 1),
    }


def times(*texts: str) -> tuple[datetime, ...]:
    """Instants of ISO dates."""
    return tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts)
