"""DOFA's cases hold 8-bit values of two sensors, and wavelengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.sample import Sample
from models.base import Model
from models.types import Inputs


def prepared(model: Model, arrays: Mapping[str, NDArray[Any]], record: Any) -> Inputs:
    """The Sentinel-2 values, as the digital numbers that they come from."""
    spec = model.card.modalities["s2"]
    eight_bit = arrays["s2_u8"].astype(np.float64)
    numbers = eight_bit / np.array(spec.normalization.scale)[:, None, None]
    np.testing.assert_allclose(
        arrays["wavelengths_um"], list(spec.wavelengths_um.values()), rtol=1e-6
    )
    return model.prepare(Sample(numbers, spec.sensor.bands, "s2"))


def prepared_s1(model: Model, arrays: Mapping[str, NDArray[Any]]) -> Inputs:
    """The Sentinel-1 values, as the power that they come from."""
    spec = model.card.modalities["s1"]
    power = (arrays["s1_u8"].astype(np.float64) / spec.normalization.scale[0]) ** 2
    return model.prepare(Sample(power, spec.sensor.bands, "s1"))
