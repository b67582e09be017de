"""Models without a runner."""

from __future__ import annotations

import asyncio

from inference.importing import import_model
from inference.loading import load_model
from inference.types import EncodeItem
from models.gse.model import Gse
from runners.in_process import InProcessEncoder


def test_items_are_answered_in_order() -> None:
    """As a runner does: one result per item, ready from the start."""
    here = InProcessEncoder(load_model(import_model("gse")))
    model = Gse({})
    items = [
        EncodeItem(inputs=model.example_inputs("annual", side=side), pooling=None)
        for side in (8, 5, 8)
    ]
    results = asyncio.run(here.encode(items))
    assert [result.data.shape for result in results] == [(64, side, side) for side in (8, 5, 8)]
    assert asyncio.run(here.is_ready())
