"""Every released variant in its own size."""

from __future__ import annotations

import pytest

from models.base import Model
from models.catalog import families
from models.execute import LoadedModel
from models.precision import Precision

FITTED = {("mosaiks", "rolf2021"), ("mosaiks", "torchgeo")}
"""Whose filters are cut from images: there is no record of them without a file."""
VARIANTS = [
    pytest.param(cls, variant, id=f"{cls.card.id}-{variant}")
    for cls in families()
    for variant in cls.card.variants
    if cls.card.weights.source != "none" and (cls.card.id, variant) not in FITTED
]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "variant"), VARIANTS)
def test_a_variant_answers(cls: type[Model], variant: str) -> None:
    """Every modality, in bfloat16 if it may: variants of a family may be different networks."""
    precision: Precision = "bfloat16" if "bfloat16" in cls.card.precisions else "float32"
    model = cls(cls.default_config(variant))
    network = model.network()
    network.load_state_dict(cls.seeded(model.config), strict=True, assign=True)
    LoadedModel(model, network, precision=precision).warm_up()
