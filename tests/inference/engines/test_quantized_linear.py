"""Linear layers in int8."""

from __future__ import annotations

import pytest
import torch

from inference import devices
from inference.engines.quantized_linear import (
    INT8_MAX,
    MIN_INT8_SIDE,
    PrepackedLinear,
    QuantizedLinear,
    make_linear,
)

pytestmark = pytest.mark.skipif(
    not devices.has_int8_hardware("cpu"), reason="the processor does not"
)
FORMATS = [torch.float32, torch.bfloat16]


def layer(inside: int, outside: int, dtype: torch.dtype, *, bias: bool = True) -> QuantizedLinear:
    """A layer with random weights of very different size."""
    weight = torch.randn(outside, inside) * torch.logspace(-3, 1, outside)[:, None]
    return QuantizedLinear(weight.to(dtype), torch.randn(outside).to(dtype) if bias else None)


def true(one: PrepackedLinear, values: torch.Tensor) -> torch.Tensor:
    """In float32; to be asked before the layer is used."""
    bias = None if one.bias is None else one.bias.float()
    return torch.nn.functional.linear(values.float(), one.weight.float(), bias)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bias", [True, False])
def test_near_to_float32(dtype: torch.dtype, bias: bool) -> None:
    """For outputs of every size: each has its own scale."""
    torch.manual_seed(0)
    one, values = layer(300, 40, dtype, bias=bias), torch.randn(2, 7, 300).to(dtype)
    exact = true(one, values)
    with torch.inference_mode():
        result = one(values)
    assert result.dtype == dtype
    assert result.shape == (2, 7, 40)
    assert one.weight.numel() == 0
    off = (result.float() - exact).norm(dim=(0, 1)) / exact.norm(dim=(0, 1))
    assert 0 < off.max() < 0.03  # each side is rounded by a 127th of three deviations: 0.01


@pytest.mark.parametrize("dtype", FORMATS)
def test_integers_are_exact(dtype: torch.dtype) -> None:
    """Both ends of the range too: nothing is cut off or carried over."""
    torch.manual_seed(0)
    weight = torch.randint(-INT8_MAX, INT8_MAX + 1, (64, 512)).float()
    values = torch.randint(-INT8_MAX, INT8_MAX + 1, (5, 512)).float()
    weight[:, 0], values[:, 0] = INT8_MAX, -INT8_MAX
    weight[0], values[0] = INT8_MAX, INT8_MAX
    weight[1], values[1] = INT8_MAX, -INT8_MAX
    exact = values @ weight.T
    with torch.inference_mode():
        result = QuantizedLinear(weight.to(dtype), None)(values.to(dtype))
    assert torch.allclose(result.float(), exact, rtol=1e-5 if dtype == torch.float32 else 8e-3)


def test_a_row_depends_on_no_other() -> None:
    """However large the others are."""
    torch.manual_seed(0)
    one, values = layer(300, 40, torch.float32), torch.randn(3, 300)
    with torch.inference_mode():
        alone = one(values[:1])
        beside = one(torch.cat([values[:1], 1e4 * values[1:]]))
    assert torch.allclose(alone[0], beside[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", FORMATS)
def test_inputs_are_not_changed(dtype: torch.dtype) -> None:
    """Other layers read them, too."""
    one, values = layer(300, 40, dtype), torch.randn(3, 300).to(dtype)
    before = values.clone()
    with torch.inference_mode():
        one(values)
    assert torch.equal(values, before)


def test_zeros_and_non_finite_rows() -> None:
    """Zeros give the bias; what is not finite gives what is not finite, in its row alone."""
    one, values = layer(300, 40, torch.float32), torch.randn(4, 300)
    values[0] = 0
    values[1, 5], values[2, 5] = float("nan"), float("inf")
    exact = true(one, values)
    with torch.inference_mode():
        result = one(values)
        nothing = one(values[:0])
    assert torch.equal(result[0], one.bias)  # type: ignore[arg-type]
    assert not result[1:3].isfinite().any()
    assert torch.allclose(result[3], exact[3], rtol=0.1, atol=0.1 * float(exact[3].abs().max()))
    assert nothing.shape == (0, 40)


@pytest.mark.parametrize(
    ("shape", "int8", "expected"),
    [
        ((MIN_INT8_SIDE, MIN_INT8_SIDE), True, QuantizedLinear),
        ((MIN_INT8_SIDE, MIN_INT8_SIDE), False, PrepackedLinear),
        ((MIN_INT8_SIDE, MIN_INT8_SIDE - 1), True, PrepackedLinear),
        ((MIN_INT8_SIDE - 1, MIN_INT8_SIDE), True, PrepackedLinear),
    ],
)
def test_which_layers_are_quantized(
    shape: tuple[int, int], int8: bool, expected: type[PrepackedLinear]
) -> None:
    """Large ones, if int8 is chosen; small ones are only prepacked."""
    rounded = make_linear(torch.zeros(shape).bfloat16(), None, int8=int8)
    assert type(rounded) is expected
    stays = make_linear(torch.zeros(shape), None, int8=int8)
    assert type(stays) is (QuantizedLinear if expected is QuantizedLinear else type(None))
