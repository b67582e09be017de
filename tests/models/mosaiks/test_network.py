"""The filter bank and its cells, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.mosaiks import network as mosaiks_network
from models.mosaiks.network import FilterBank, RandomConvolutionalFeatures

Array = NDArray[np.float64]


def bank(channels: int, kernel: int, positive: float, negative: float | None) -> FilterBank:
    """Five filters of noise; biases of noise around the given values, None: exactly opposite."""
    made = FilterBank(5, channels, kernel)
    generator = torch.Generator().manual_seed(channels * kernel)
    made.weight.copy_(torch.randn(made.weight.shape, generator=generator))
    made.bias_positive.copy_(positive + torch.randn(5, generator=generator) / 10)
    if negative is None:
        made.bias_negative.copy_(-made.bias_positive)
    else:
        made.bias_negative.copy_(negative + torch.randn(5, generator=generator) / 10)
    return made.eval()


def image(channels: int, height: int, width: int) -> torch.Tensor:
    """Noise in 0..1."""
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(7))


def maps(made: FilterBank, pixels: torch.Tensor) -> Array:
    """(2 K, H', W'): both rectified responses, each pixel summed up by hand."""
    weight = made.weight.double().numpy()
    source = pixels.double().numpy()
    count, _, kernel, _ = weight.shape
    height, width = (side - kernel + 1 for side in source.shape[1:])
    response = np.zeros((count, height, width))
    for row in range(height):
        for column in range(width):
            window = source[:, row : row + kernel, column : column + kernel]
            response[:, row, column] = (weight * window).sum(axis=(1, 2, 3))
    positive, negative = (
        bias.double().numpy()[:, None, None] for bias in (made.bias_positive, made.bias_negative)
    )
    both = np.concatenate([response + positive, -response + negative])
    return np.asarray(np.maximum(both, 0))


def integral(line: Array, low: float, high: float) -> Array:
    """Mean over [low, high) of a step function whose last axis has steps of length 1."""
    summed = np.concatenate([np.zeros_like(line[..., :1]), line.cumsum(-1)], axis=-1)
    at = np.arange(summed.shape[-1])
    flat = summed.reshape(-1, summed.shape[-1])
    means = [(np.interp(high, at, row) - np.interp(low, at, row)) / (high - low) for row in flat]
    return np.array(means).reshape(line.shape[:-1])


@pytest.mark.parametrize(("channels", "kernel"), [(3, 3), (12, 3), (3, 4), (1, 1)])
@pytest.mark.parametrize(
    ("positive", "negative"), [(0, 0), (0, None), (0.4, None), (-0.3, -0.3), (0.5, 0.2)]
)
def test_every_cell_is_the_mean_of_its_part_of_the_map(
    channels: int, kernel: int, positive: float, negative: float | None
) -> None:
    """Both signs, any pair of biases, cells whose edges fall inside pixels."""
    made, pixels = bank(channels, kernel, positive, negative), image(channels, 27, 22)
    expected = maps(made, pixels)
    height, width = expected.shape[1:]
    rows, columns = np.linspace(0, height, 4), np.linspace(0, width, 3)
    with torch.inference_mode():
        result = made(
            pixels,
            mosaiks_network.averaging_weights(torch.from_numpy(rows), height),
            mosaiks_network.averaging_weights(torch.from_numpy(columns), width),
        )
    assert result.shape == (10, 3, 2)
    for i in range(3):
        for j in range(2):
            across = integral(expected, columns[j], columns[j + 1])
            cell = integral(across, rows[i], rows[i + 1])
            np.testing.assert_allclose(result[:, i, j].numpy(), cell, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("length", "equal", "fixed"),
    [
        (1, [0, 1], [0, 1]),
        (23, [0, 23], [0, 16, 23]),
        (32, [0, 16, 32], [0, 16, 32]),
        (33, [0, 16.5, 33], [0, 16, 32, 33]),
        (50, [0, 50 / 3, 100 / 3, 50], [0, 16, 32, 48, 50]),
    ],
)
def test_edges(length: int, equal: list[float], fixed: list[float]) -> None:
    """Equal cells of about 16 pixels cover the map; fixed ones are cut off at its end."""
    np.testing.assert_allclose(mosaiks_network.equal_cell_edges(length, 16).numpy(), equal)
    np.testing.assert_allclose(mosaiks_network.fixed_cell_edges(length, 16).numpy(), fixed)


def test_an_edge_inside_a_pixel_shares_it() -> None:
    """Three pixels in two cells: the middle one counts half in each."""
    weights = mosaiks_network.averaging_weights(
        torch.tensor([0, 1.5, 3], dtype=torch.float64), 3
    ).numpy()
    np.testing.assert_allclose(weights, [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], rtol=1e-6)


@pytest.mark.parametrize("side", [3, 7, 18, 34, 66, 98, 141])
def test_the_number_of_threads_does_not_show(side: int) -> None:
    """To the last bit: a runner computes a lone image on all cores, and others on one each."""
    made = FilterBank(512, 3, 3)
    made.weight.copy_(torch.randn(made.weight.shape, generator=torch.Generator().manual_seed(3)))
    made.bias_positive.zero_()
    made.bias_negative.zero_()
    weights = mosaiks_network.averaging_weights(
        mosaiks_network.equal_cell_edges(side - 2, 16), side - 2
    )
    pixels = image(3, side, side)
    result, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            with torch.inference_mode():
                result.append(made(pixels, weights, weights))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(each, result[0]) for each in result)


def test_banks_do_not_mix() -> None:
    """Each modality has its own filters."""
    network = RandomConvolutionalFeatures(5, 3, {"rgb": 3, "s2": 12})
    for name, channels in (("rgb", 3), ("s2", 12)):
        network.banks[name].load_state_dict(bank(channels, 3, 0, 0).state_dict())
    weights = mosaiks_network.averaging_weights(mosaiks_network.equal_cell_edges(8, 16), 8)
    for name, channels in (("rgb", 3), ("s2", 12)):
        pixels = image(channels, 10, 10)
        expected = maps(bank(channels, 3, 0, 0), pixels).mean(axis=(1, 2))
        result = network(name, pixels, weights, weights)
        np.testing.assert_allclose(result[:, 0, 0].numpy(), expected, atol=2e-6, rtol=1e-5)


def test_normalised_filters() -> None:
    """The mean is taken over all taps of a filter, and the norm after the mean."""
    raw = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1)) + 5
    for result, given in zip(
        mosaiks_network.normalize_filters(raw), raw.double().numpy(), strict=True
    ):
        centred = given - given.mean()
        np.testing.assert_allclose(result.numpy(), centred / np.sqrt((centred**2).sum()), atol=1e-6)


def test_features_are_never_negative() -> None:
    """A mean of rectified values is at least 0, also where a bias is not 0."""
    made = bank(3, 3, 0, -9)
    with torch.inference_mode():
        features = [
            made(image(3, side + 2, side + 2), weights, weights)
            for side in range(5, 23)
            for weights in [
                mosaiks_network.averaging_weights(mosaiks_network.equal_cell_edges(side, 16), side)
            ]
        ]
    assert min(float(result.min()) for result in features) >= 0
