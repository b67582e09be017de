"""`pooling: cls` against the class token that each network computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from inference import pooling
from inference.types import EncodeItem
from models.base import Model
from models.registry import list_model_classes
from tests.models import small

WITH = [cls for cls in list_model_classes() if cls.card.class_token]
WITHOUT = [
    cls
    for cls in list_model_classes()
    if not cls.card.class_token and cls.card.kind == "on_the_fly"
]


def by_id(cls: type[Model]) -> str:
    """The name of a parameter."""
    return cls.card.id


@pytest.mark.parametrize("cls", WITH, ids=by_id)
def test_every_input_has_one(cls: type[Model]) -> None:
    """Images and regions have a class token of one length, which no grid token equals."""
    model = cls(small.config(cls))
    loaded = small.loaded(model)
    for modality in model.modalities():
        encoded = loaded.encode([model.example_inputs(modality)])
        tokens = pooling.pool(encoded, "cls")
        assert encoded.num_prefix_tokens >= 1
        assert tokens.shape == (1, encoded.tokens.shape[2])
        assert torch.isfinite(tokens).all()
        grid = pooling.grid_tokens(encoded)[0]
        assert not torch.isclose(grid, tokens, atol=1e-4).all(dim=1).any()


@pytest.mark.parametrize("cls", [cls for cls in WITH if cls.card.id in ("dofa", "satmaepp")])
def test_it_is_the_first_token_of_the_network(cls: type[Model]) -> None:
    """The vector of an item is the first row of what the network gives, bit for bit."""
    model = cls(small.config(cls))
    loaded = small.loaded(model)
    network: Any = loaded._network
    rows: list[torch.Tensor] = []
    handle = network.register_forward_hook(lambda module, args, output: rows.append(output))
    (modality, *_) = model.modalities()
    item = EncodeItem(inputs=model.example_inputs(modality), pooling="cls")
    (result,) = loaded.run([item])
    handle.remove()
    torch.testing.assert_close(torch.from_numpy(result.data), rows[-1][0, 0], rtol=0, atol=0)


@pytest.mark.parametrize("cls", WITHOUT, ids=by_id)
def test_models_without_one(cls: type[Model]) -> None:
    """The error names what is accepted, and fails no other item of the batch."""
    model = cls(small.config(cls))
    (modality, *_) = model.modalities()
    inputs = model.example_inputs(modality)
    mean, failed = small.loaded(model).run(
        [EncodeItem(inputs=inputs, pooling="mean"), EncodeItem(inputs=inputs, pooling="cls")]
    )
    assert mean.error is None
    assert failed.error is not None
    error = failed.error["error"]
    assert error["field"] == "output.pooling"
    assert "no class token; accepted: native, mean, max" in error["message"]
