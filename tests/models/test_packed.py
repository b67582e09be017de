"""Linear layers whose weights are in the processor's own order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models import packed
from models.base import Model
from models.execute import LoadedModel
from tests.models import small

needs_operators = pytest.mark.skipif(not packed.can_pack(), reason="torch has no such operators")


def loaded(cls: type[Model]) -> LoadedModel:
    """A small model in bfloat16, the same numbers every time."""
    model = cls(small.config(cls))
    network = model.network()
    network.load_state_dict(cls.seeded(model.config), strict=True)
    return LoadedModel(model, network, precision="bfloat16")


@needs_operators
@pytest.mark.parametrize("cls", small.SIZES, ids=lambda cls: cls.card.id)
def test_no_model_answers_otherwise(cls: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every modality of every family runs, and gives the same numbers to the last bit."""
    found = loaded(cls)
    network: Any = found._network
    assert any(isinstance(module, packed.PackedLinear) for module in network.modules())
    assert all(type(module) is not nn.Linear for module in network.modules())
    monkeypatch.setattr(packed, "pack", lambda network: None)
    plain = loaded(cls)
    for modality in found.model.modalities():
        inputs = [found.model.example_inputs(modality)] * 2
        for one, other in zip(
            small.vectors(found, inputs), small.vectors(plain, inputs), strict=True
        ):
            np.testing.assert_array_equal(one, other)


@needs_operators
def test_what_is_packed() -> None:
    """Layers in bfloat16, with or without a bias; not those that are more than a linear layer."""
    network = nn.Sequential(
        nn.Linear(8, 4), nn.Linear(4, 8, bias=False), nn.MultiheadAttention(8, 2, batch_first=True)
    )
    packed.pack(network)
    assert type(network[0]) is nn.Linear  # float32
    network.to(torch.bfloat16).eval()
    values = torch.randn(3, 8, dtype=torch.bfloat16)
    with torch.inference_mode():
        before = network[1](network[0](values))
        packed.pack(network)
        after = network[1](network[0](values))
        network[2](after[None], after[None], after[None])
    assert [type(layer) for layer in network] == [
        packed.PackedLinear,
        packed.PackedLinear,
        nn.MultiheadAttention,
    ]
    assert network[0].weight.dtype == torch.bfloat16
    assert torch.equal(before, after)
