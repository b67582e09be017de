"""Choosing the precision of a model.

bfloat16 halves the memory and is several times faster on processors that multiply in it. In int8,
large linear layers are int8 and all other layers are bfloat16, or float32 on processors without
bfloat16. Neither is used before its effect on the vectors of the model was measured
(`inference.calibration`).
"""

from __future__ import annotations

from collections.abc import Set

from geobento.schemas.cards import ModelCard
from inference.types import Precision
from models.weights.stored_model import Calibration

MIN_COSINE = 0.999
"""Minimum cosine similarity to float32 for a precision that no setting demands."""


def choose_precision(
    requested: str, card: ModelCard, calibration: Calibration, native: Set[Precision]
) -> Precision:
    """The precision to run a model in.

    Args:
        requested: `float32`; `bfloat16`; `auto`: bfloat16 if the device computes in it and the
            calibration allows it; `int8`: int8 if the device computes in it and the calibration
            allows it, else as `auto`.
        card: The model's card, which may rule precisions out.
        calibration: Measured cost of each precision.
        native: Precisions that the device computes in (`devices.has_bf16_hardware`,
            `devices.has_int8_hardware`).
    """
    if requested == "float32" or "bfloat16" not in card.precisions:
        return "float32"
    if requested == "bfloat16":
        return "bfloat16"
    if not _is_accurate(calibration, "bfloat16"):
        return "float32"
    if requested == "int8" and "int8" in native and _is_accurate(calibration, "int8"):
        return "int8"
    return "bfloat16" if "bfloat16" in native else "float32"


def _is_accurate(calibration: Calibration, precision: Precision) -> bool:
    return precision in calibration and calibration[precision]["cosine"] >= MIN_COSINE
