"""Galileo's encoder: batches, the grid, positions and patch kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from geobento.schemas.sample import Sample
from inference import pooling
from models.galileo.card import S2_BANDS
from models.galileo.network import PatchEmbedding, ground_position_encoding
from models.layers.patch_embed import kernel_resize_matrix
from models.layers.positions import sincos_encoding
from tests.models import small
from tests.models.galileo.samples import MODEL, all_auxiliary, auxiliary, s2, times


def test_batch_equals_single() -> None:
    """Any order, with neighbours of another month, pixel size, patch, shape and set of inputs."""
    coarse = MODEL.with_options({"patch_size": 8})
    batch = [
        MODEL.prepare(s2(10, 16, 16, times=times("2021-01-31"))),
        MODEL.prepare(s2(10, 16, 16, times=times("2021-08-31"), grid=small.utm(16, 16, 20.0))),
        coarse.prepare(s2(10, 16, 16)),
        MODEL.prepare(s2(2, 10, 16, 8)),
        MODEL.prepare(s2(2, 10, 16, 16, extras=all_auxiliary(2, 16))),
        MODEL.prepare(auxiliary("s1", 2, 16, 16)),
    ]
    model = small.loaded(MODEL)
    alone = [small.vectors(model, [inputs])[0] for inputs in batch]
    for order in (range(6), [5, 3, 1, 0, 2, 4]):
        together = small.vectors(model, [batch[position] for position in order])
        for position, vector in zip(order, together, strict=True):
            np.testing.assert_allclose(vector, alone[position], atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3


@pytest.mark.parametrize(("option", "value"), [("patch_size", 2), ("location", True)])
def test_options_change_the_vector(option: str, value: Any) -> None:
    """What the card offers has an effect."""
    sample = s2(10, 16, 16, grid=small.utm(16, 16))
    changed = MODEL.with_options({option: value}).prepare(sample)
    one, other = small.vectors(small.loaded(MODEL), [MODEL.prepare(sample), changed])
    assert np.abs(one - other).max() > 1e-4


def test_the_grid_and_the_vector() -> None:
    """Of images alone the mean of the grid is the vector; what has no patch is in every cell."""
    model = small.loaded(MODEL)
    encoded = model.encode([MODEL.prepare(s2(2, 10, 8, 12))])
    assert encoded.grid_shape == (2, 3)
    assert encoded.vector is not None
    torch.testing.assert_close(pooling.pool(encoded, "mean"), encoded.vector)

    inputs = MODEL.prepare(s2(2, 10, 8, 8, extras=all_auxiliary(2, 8)))
    with torch.inference_mode():
        tokens = MODEL.encode_tokens(model._network, model.collate_inputs([inputs]))
    assert tokens.sequence().shape == (1, 4 * 2 * 7 + 4 * 3 + 2 * 3 + 3, 32)
    here = tokens.space_time[0, 1, 0].flatten(0, 1), tokens.space[0, 1, 0]
    cell = torch.cat([*here, tokens.time[0].flatten(0, 1), tokens.static[0]])
    grid = pooling.token_grid(model.encode([inputs]))
    torch.testing.assert_close(grid[0, :, 1, 0], cell.mean(dim=0))


def test_rows_and_columns_are_not_mixed_up() -> None:
    """A cell's tokens come from its own pixels, also where height and width differ."""
    sample = s2(10, 8, 12)
    changed = sample.pixels.copy()
    changed[:, 4:, 8:] += 3000
    network: Any = small.loaded(MODEL)._network
    with torch.inference_mode():
        before, after = (
            network.embed(
                small.loaded(MODEL).collate_inputs([MODEL.prepare(Sample(pixels, S2_BANDS, "s2"))]),
                torch.tensor([[5]]),
                torch.tensor([[10.0, 10.0]]),
                4,
            ).space_time
            for pixels in (sample.pixels, changed)
        )
    moved = (before - after).abs().amax(dim=(0, 3, 4, 5)) > 1e-6
    assert moved.tolist() == [[False, False, False], [False, False, True]]


def test_frequencies_run_from_1_to_a_tenth() -> None:
    """Exponents are -i / dim / 2, as in the reference implementation; the unit is 10 m."""
    encoding = ground_position_encoding(1, 2, torch.tensor([[30.0, 30.0]]), 16)[0, 0, :, :8]
    angles = [3 / 10_000 ** (i / 8 / 2) for i in range(4)]
    expected = [*map(math.sin, angles), *map(math.cos, angles)]
    torch.testing.assert_close(encoding[0].tolist(), [0.0] * 4 + [1.0] * 4)
    np.testing.assert_allclose(encoding[1], expected, rtol=1e-6)


def test_positions_are_those_of_the_ground() -> None:
    """Columns first, then rows; a rectangle has those of the square around it."""
    square = ground_position_encoding(3, 3, torch.tensor([[40.0, 40.0]]), 16)
    assert torch.equal(
        ground_position_encoding(2, 3, torch.tensor([[40.0, 40.0]]), 16), square[:, :2]
    )
    at_80_m = sincos_encoding(torch.tensor(8.0), 8, period=16)
    assert torch.equal(square[0, 0, 2, :8], at_80_m)
    assert torch.equal(square[0, 2, 0, 8:], at_80_m)
    wide = ground_position_encoding(3, 3, torch.tensor([[40.0, 80.0]]), 16)
    assert torch.equal(wide[0, 1, 1], torch.cat([square[0, 1, 2, :8], square[0, 1, 1, 8:]]))


def test_a_resized_kernel_sees_in_a_resized_patch_what_the_stored_one_saw() -> None:
    """Exactly so for kernels that a kernel of the smaller size can stand for."""
    shrink = torch.linalg.pinv(kernel_resize_matrix(8, 4)).reshape(64, 16)
    embedding = PatchEmbedding(2, 6, 8)
    with torch.no_grad():
        embedding.proj.weight.copy_((torch.randn(6, 2, 16) @ shrink.T).view(6, 2, 8, 8))
        patch = torch.randn(1, 2, 8, 8)
        smaller = functional.interpolate(patch, (4, 4), mode="bicubic", antialias=True)
        torch.testing.assert_close(embedding(smaller, 4), embedding(patch, 8), atol=1e-4, rtol=1e-4)
