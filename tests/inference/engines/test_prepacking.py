"""Linear layers, convolutions and attention with prepacked weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from inference import devices
from inference.devices import has_int8_hardware
from inference.engines import prepacking, quantized_linear
from inference.engines.torch import TorchModel
from inference.operators import supports_prepacking
from inference.types import Precision
from models.base import Model
from models.clip.remoteclip import RemoteClip
from models.types import Config
from tests.models import small

needs_operators = pytest.mark.skipif(
    not supports_prepacking(), reason="torch has no such operators"
)


def loaded(cls: type[Model], precision: Precision, changed: Config | None = None) -> TorchModel:
    """A small model, the same numbers every time."""
    model = cls(small.config(cls) | (changed or {}))
    network = model.network()
    network.load_state_dict(cls.seeded_state_dict(model.config), strict=True)
    return TorchModel(model, network, precision=precision)


def mean_error(actual: Any, expected: Any) -> float:
    """Mean absolute error."""
    return float(np.abs(np.asarray(actual, np.float64) - np.asarray(expected, np.float64)).mean())


RESIDUAL = {
    "vision": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "patch_size": None}
    | {"image_size": 224}
}
"""A network whose attention reads the weights of linear layers that it never calls."""
FAMILIES = [
    *(pytest.param(cls, None, id=cls.card.id) for cls in small.SIZES),
    pytest.param(RemoteClip, RESIDUAL, id="remoteclip-rn50"),
]


@needs_operators
@pytest.mark.parametrize(("cls", "changed"), FAMILIES)
def test_prepacking_keeps_accuracy(
    cls: type[Model], changed: Config | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every modality of every family is as near to float32 as without prepacking."""
    result = loaded(cls, "bfloat16", changed)
    network: Any = result._network
    assert any(isinstance(module, quantized_linear.PrepackedLinear) for module in network.modules())
    assert nn.Linear not in {type(module) for module in network.modules()}
    monkeypatch.setattr(prepacking, "prepack_layers", lambda network, **_: None)
    plain, exact = loaded(cls, "bfloat16", changed), loaded(cls, "float32", changed)
    for modality in result.model.modalities():
        inputs = [result.model.example_inputs(modality, seed=seed) for seed in range(4)]
        ours, torchs, expected = (small.vectors(model, inputs) for model in (result, plain, exact))
        assert mean_error(ours, expected) <= 1.3 * mean_error(torchs, expected)


@pytest.mark.skipif(not has_int8_hardware("cpu"), reason="the processor does not")
@pytest.mark.parametrize("outside", ["bfloat16", "float32"])
@pytest.mark.parametrize(("cls", "changed"), FAMILIES)
def test_every_model_computes_in_int8(
    cls: type[Model], changed: Config | None, outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large linear layers are int8, and the cosine to float32 stays high, in either other dtype."""
    monkeypatch.setattr(quantized_linear, "MIN_INT8_SIDE", 8)
    monkeypatch.setattr(devices, "has_bf16_hardware", lambda device: outside == "bfloat16")
    result, exact = loaded(cls, "int8", changed), loaded(cls, "float32", changed)
    assert result.precision == "int8"
    assert {p.dtype for p in result._network.parameters()} <= {getattr(torch, outside)}
    for modality in result.model.modalities():
        inputs = [result.model.example_inputs(modality, seed=seed) for seed in range(4)]
        ours = np.stack(small.vectors(result, inputs))
        expected = np.stack(small.vectors(exact, inputs))
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(expected, axis=1)
        assert ((ours * expected).sum(1) / lengths).min() > 0.995
        (alone,) = small.vectors(result, inputs[:1])
        assert mean_error(alone, ours[0]) < 1e-2 * np.abs(ours[0]).mean()


@needs_operators
def test_linear_layers() -> None:
    """The same numbers, with or without a bias; in float32 they stay as they are."""
    network = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8, bias=False))
    prepacking.prepack_layers(network)
    assert type(network[0]) is nn.Linear
    network.to(torch.bfloat16).eval()
    values = torch.randn(3, 8, dtype=torch.bfloat16)
    with torch.inference_mode():
        before = network(values)
        prepacking.prepack_layers(network)
        assert torch.equal(network(values), before)
        assert [type(layer) for layer in network] == [quantized_linear.PrepackedLinear] * 2
        assert [tensor.numel() for tensor in network.state_dict().values()] == [0, 4, 0]
        assert network[0].weight.dtype == torch.bfloat16


@needs_operators
def test_weights_that_other_layers_read_stay() -> None:
    """As long as the layer itself is not used."""
    network = nn.Sequential(nn.Linear(8, 4)).to(torch.bfloat16)
    given = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    prepacking.prepack_layers(network)
    assert type(network[0]) is quantized_linear.PrepackedLinear
    left = network.state_dict()
    assert {name: torch.equal(left[name], tensor) for name, tensor in given.items()} == {
        "0.weight": True,
        "0.bias": True,
    }


@needs_operators
def test_threads_that_meet_a_layer_for_the_first_time() -> None:
    """All of them get its numbers."""
    together = Barrier(4, timeout=20)

    def use(network: nn.Module, values: torch.Tensor) -> torch.Tensor:
        together.wait()
        with torch.no_grad():
            result: torch.Tensor = network(values)
        return result

    for _ in range(20):
        network = nn.Sequential(nn.Linear(64, 64)).to(torch.bfloat16)
        values = torch.randn(8, 64, dtype=torch.bfloat16)
        with torch.no_grad():
            expected = network(values)
        prepacking.prepack_layers(network)
        with ThreadPoolExecutor(4) as pool:
            result = [pool.submit(use, network, values) for _ in range(4)]
        assert all(torch.equal(each.result(), expected) for each in result)


@needs_operators
@pytest.mark.parametrize("channels_last", [False, True])
def test_convolutions_of_patches(channels_last: bool) -> None:
    """Of any form, what is left over at the edges being left out as torch does."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 16, (4, 2), stride=(4, 2), padding="valid").to(torch.bfloat16)
    maps = torch.randn(2, 3, 18, 11, dtype=torch.bfloat16)
    if channels_last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    network = nn.Sequential(layer)
    with torch.inference_mode():
        plain = layer(maps).float()
        weight, bias = (parameter.double() for parameter in layer.parameters())
        expected = functional.conv2d(maps.double(), weight, bias, stride=(4, 2))
        prepacking.prepack_layers(network)
        ours = network(maps).float()
    assert type(network[0]) is prepacking.PrepackedPatchConv
    assert ours.shape == plain.shape == (2, 16, 4, 5)
    assert mean_error(ours, expected) <= 1.1 * mean_error(plain, expected)


@needs_operators
@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    """Of tokens to each other, also where later ones are hidden."""
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    network = nn.Sequential(layer).to(torch.bfloat16)
    exact = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    exact.load_state_dict(layer.state_dict())
    exact.double()
    tokens = torch.randn(2, 6, 32, dtype=torch.bfloat16)
    mask = torch.full((6, 6), -torch.inf).triu(1) if causal else None

    def attend(module: nn.Module, dtype: torch.dtype) -> torch.Tensor:
        read = tokens.to(dtype)
        hidden = None if mask is None else mask.to(dtype)
        result: torch.Tensor = module(read, read, read, need_weights=False, attn_mask=hidden)[0]
        return result.double()

    with torch.inference_mode():
        expected = attend(exact, torch.float64)
        plain = attend(layer, torch.bfloat16)
        prepacking.prepack_layers(network)
        ours = attend(network[0], torch.bfloat16)
        assert type(network[0]) is prepacking.PrepackedAttention
        assert mean_error(ours, expected) <= 1.3 * mean_error(plain, expected)
        with pytest.raises(NotImplementedError, match="only self-attention"):
            network[0](tokens, tokens.clone(), tokens, need_weights=False)
        with pytest.raises(NotImplementedError, match="only self-attention"):
            network[0](tokens, tokens, tokens)


@needs_operators
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(3, 4, 2, stride=2, padding=1),
        nn.Conv2d(4, 4, 2, stride=2, groups=2),
        nn.Conv2d(3, 4, 2, stride=2, dilation=2),
        nn.MultiheadAttention(8, 2),
        nn.MultiheadAttention(8, 2, batch_first=True, kdim=4),
        nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True),
        nn.MultiheadAttention(8, 2, batch_first=True, add_zero_attn=True),
    ],
    ids=str,
)
def test_other_layers_stay(layer: nn.Module) -> None:
    """What is not the same sum of products is left to torch."""
    network = nn.Sequential(layer).to(torch.bfloat16)
    prepacking.prepack_layers(network)
    assert network[0] is layer
