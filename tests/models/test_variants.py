"""Every released variant in its own size."""

from __future__ import annotations

import pytest

from inference.devices import has_int8_hardware
from inference.engines.torch import TorchModel
from inference.types import Precision
from models.base import Model
from models.registry import list_model_classes

FITTED = {("mosaiks", "rolf2021"), ("mosaiks", "torchgeo")}
"""Whose filters are cut from images: there is no record of them without a file."""
VARIANTS = [
    pytest.param(cls, variant, id=f"{cls.card.id}-{variant}")
    for cls in list_model_classes()
    for variant in cls.card.variants
    if cls.card.weights.source != "none" and (cls.card.id, variant) not in FITTED
]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "variant"), VARIANTS)
def test_a_variant_answers(cls: type[Model], variant: str) -> None:
    """Every modality in every format but float32: variants of a family may be other networks."""
    model = cls(cls.default_config(variant))
    weights = cls.seeded_state_dict(model.config)
    possible: set[Precision] = {"bfloat16", "int8"} if has_int8_hardware("cpu") else {"bfloat16"}
    for precision in possible.intersection(cls.card.precisions) or {"float32"}:
        network = model.network()
        network.load_state_dict(weights, strict=True, assign=True)
        TorchModel(model, network, precision=precision).warm_up()
