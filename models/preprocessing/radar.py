"""Radar backscatter. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.errors import ModelError

MIN_POWER = 1e-5
"""Power below which decibels are no longer told apart (-50 dB); data never get there."""


def power_to_db(power: NDArray[Any], model_id: str) -> NDArray[np.float32]:
    """Decibels of linear power; where there is none, -50.

    Args:
        power: Any shape.
        model_id: Id of the model, for the message.

    Raises:
        ModelError: There is negative power: the values are decibels already.
    """
    if (power < 0).any():
        raise ModelError(
            f"{model_id} reads linear radar power, got negative values; are they decibels?",
            field="sensor",
        )
    found: NDArray[np.float32] = 10 * np.log10(np.maximum(power, MIN_POWER).astype(np.float32))
    return found
