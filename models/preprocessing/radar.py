"""Radar backscatter. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.errors import ModelError

MIN_POWER = 1e-5
"""Smallest power that is converted (-50 dB); real data are above it."""


def power_to_db(power: NDArray[Any], model_id: str) -> NDArray[np.float32]:
    """Decibels of linear power; -50 where there is none.

    Args:
        power: Any shape.
        model_id: Id of the model, for the message.

    Raises:
        ModelError: Power is negative, so the values are probably decibels.
    """
    if (power < 0).any():
        raise ModelError(
            f"{model_id} reads linear radar power, got negative values; are they decibels?",
            field="sensor",
        )
    decibels: NDArray[np.float32] = 10 * np.log10(np.maximum(power, MIN_POWER).astype(np.float32))
    return decibels
