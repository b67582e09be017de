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
    pytest.param(cls, variant, precision, id=f"{cls.card.id}-{variant}-{precision}")
    for cls in families()
    for variant in cls.card.variants
    for precision in cls.card.precisions
    if cls.card.weights.source != "none" and (cls.card.id, variant) not in FITTED
]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "variant", "precision"), VARIANTS)
def test_a_variant_answers(cls: type[Model], variant: str, precision: Precision) -> None:
    """Every modality, in every number format: variants of a family may be different networks."""
    model = cls(cls.default_config(variant))
    LoadedModel(model, model.network(), precision=precision).warm_up()
