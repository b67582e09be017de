"""Metadata that models take besides pixels."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from geobento.schemas.sample import PixelGrid, Sample
from models.base import Model
from models.registry import list_model_classes
from tests.models import small


def inputs(cls: type[Model], modality: str, month: int, larger: float) -> Mapping[str, Any]:
    """What the network gets of the same pixels, of some month and so much larger than usual."""
    model = cls(small.config(cls))
    spec = cls.card.modalities[modality]
    bands, side, pixel_m = spec.sensor.bands, max(32, spec.min_pixels), spec.sensor.scale_m * larger
    pixels = np.random.default_rng(0).uniform(1, 50, (len(bands), side, side)).astype(np.float32)
    transform = (pixel_m, 0.0, 500_000.0, 0.0, -pixel_m, 5_000_000.0)
    sample = Sample(
        pixels,
        bands,
        modality,
        valid=np.ones((side, side), bool),
        grid=PixelGrid("EPSG:32632", transform, side, side),
        times=(datetime(2023, month, 2, tzinfo=UTC),),
    )
    return model.prepare(sample)


def differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two inputs are not the same."""
    return one.keys() != other.keys() or any(
        not np.array_equal(one[name], other[name]) for name in one
    )


@pytest.mark.parametrize(
    ("cls", "modality"),
    [
        (cls, modality)
        for cls in list_model_classes()
        for modality in cls(small.config(cls)).modalities()
        if modality in cls.card.modalities
    ],
    ids=lambda value: value if isinstance(value, str) else value.card.id,
)
def test_cards_name_the_metadata_of_their_models(cls: type[Model], modality: str) -> None:
    """User-supplied pixels must have it: a missing name would mean a silent default."""
    base = inputs(cls, modality, 1, 1)
    assert not differ(base, inputs(cls, modality, 1, 1))
    if differ(base, inputs(cls, modality, 7, 1)):
        assert "times" in cls.card.required_metadata
    if differ(base, inputs(cls, modality, 1, 2)):
        assert "pixel_size" in cls.card.required_metadata
