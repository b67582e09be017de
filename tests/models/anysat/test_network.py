"""AnySat's encoder: batches, chunks, missing pixels, days and positions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from inference import pooling
from models.anysat import chunks
from models.anysat.card import CARD
from models.anysat.encodings import distance_buckets, encode_days, position_encoding
from tests.models import small
from tests.models.anysat.samples import FINE, MODEL, aerial, dates, noise, s1, s2


def test_batch_equals_single() -> None:
    """Any order, with neighbours of other dates, lengths, shapes, patches and sets of inputs."""
    batch = [
        FINE.prepare(s2(2, 10, 8, 8)),
        FINE.prepare(s2(2, 10, 8, 8, times=dates(4)[2:])),
        MODEL.prepare(s2(2, 10, 8, 8)),
        FINE.prepare(s2(5, 10, 4, 8)),
        FINE.prepare(s2(10, 8, 4)),
        FINE.prepare(replace(s2(2, 10, 8, 8), extras={"s1": s1(3, 2, 8, 8)})),
        FINE.prepare(s1(3, 2, 8, 8)),
    ]
    model = small.loaded(MODEL)
    alone = [small.vectors(model, [inputs])[0] for inputs in batch]
    for order in (range(7), [6, 4, 2, 1, 0, 3, 5]):
        together = small.vectors(model, [batch[position] for position in order])
        for position, vector in zip(order, together, strict=True):
            np.testing.assert_allclose(vector, alone[position], atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-4
    assert np.abs(alone[0] - alone[2]).max() > 1e-4
    assert np.abs(alone[0] - alone[5]).max() > 1e-4


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors do not depend on the size of the chunks."""
    inputs = FINE.prepare(replace(s2(3, 10, 8, 8), extras={"aerial": aerial(80)}))
    model = small.loaded(MODEL)
    whole = small.vectors(model, [inputs])[0]
    monkeypatch.setattr(chunks, "CHUNK_SIZE", 100)
    np.testing.assert_allclose(small.vectors(model, [inputs])[0], whole, atol=1e-5)


def test_the_vector_is_the_class_token_and_the_grid_the_patches() -> None:
    """As many cells as patches, whatever the number of modalities and dates."""
    sample = replace(s2(3, 10, 4, 8), extras={"s1": s1(2, 2, 4, 8)})
    encoded = small.loaded(MODEL).encode([FINE.prepare(sample)])
    assert encoded.tokens.shape == (1, 9, 48)
    assert pooling.token_grid(encoded).shape == (1, 48, 2, 4)
    torch.testing.assert_close(pooling.pool(encoded, "native"), encoded.tokens[:, 0])
    assert CARD.class_token
    torch.testing.assert_close(encoded.class_token, encoded.tokens[:, 0])
    torch.testing.assert_close(pooling.token_grid(encoded)[0, :, 1, 0], encoded.tokens[0, 5])


def test_the_order_of_dates_does_not_matter() -> None:
    """A series is a set of dated images."""
    sample = s2(3, 10, 4, 4)
    turned = replace(sample, pixels=sample.pixels[::-1], times=sample.times[::-1])
    one, other = small.vectors(small.loaded(MODEL), [MODEL.prepare(sample), MODEL.prepare(turned)])
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_pixels_without_data_do_not_matter() -> None:
    """Their values are replaced before anything is computed of them."""
    valid = np.ones((2, 4, 4), np.bool_)
    valid[1, :2] = False
    sample = s2(2, 10, 4, 4, valid=valid)
    other = replace(sample, pixels=np.where(valid[:, None], sample.pixels, 9999))
    assert (sample.pixels != other.pixels).any()
    one, same = small.vectors(small.loaded(MODEL), [MODEL.prepare(sample), MODEL.prepare(other)])
    np.testing.assert_array_equal(one, same)
    seen = small.vectors(small.loaded(MODEL), [MODEL.prepare(replace(sample, valid=None))])[0]
    assert np.abs(seen - one).max() > 1e-5


@pytest.mark.parametrize("name", ["s2", "aerial"])
def test_sub_patches_come_from_their_own_patch(name: str) -> None:
    """Rows and columns are not mixed up, also where height and width differ."""
    cell = {"s2": 1, "aerial": 50}[name]
    network: Any = small.loaded(MODEL)._network
    projector = network.projectors[name]

    def sub_patches(maps: torch.Tensor) -> torch.Tensor:
        if name == "aerial":
            return projector(maps, 2)  # type: ignore[no-any-return]
        days, missing = torch.zeros(1, 1), torch.zeros(1, 1, 4, 6, dtype=torch.bool)
        return projector(maps[:, None], days, missing, 2)  # type: ignore[no-any-return]

    channels = {"s2": 10, "aerial": 4}[name]
    maps = torch.from_numpy(noise(1, channels, 4 * cell, 6 * cell))
    changed = maps.clone()
    changed[..., 3 * cell :, 4 * cell : 5 * cell] += torch.linspace(1, 5, channels)[:, None, None]
    with torch.inference_mode():
        moved = (sub_patches(maps) - sub_patches(changed)).abs().amax(dim=-1)[0] > 1e-6
    per_cell = (cell // 10) ** 2 or 1
    assert moved.shape == (6, 4 * per_cell)
    assert moved.any(dim=1).tolist() == [False] * 5 + [True]
    # Within the patch: the first cell of its second row.
    assert moved[5].view(4, per_cell).any(dim=1).tolist() == [False, False, True, False]


def test_days_are_sines_and_cosines_in_turn() -> None:
    """Angles are day / 367 ** (2 (i // 2) / d) with d the share of a head; all heads alike."""
    encoded = encode_days(torch.tensor([[0, 100]]), 16 * 4, 16)
    assert encoded.shape == (1, 2, 64)
    angles = [100 / 367 ** (2 * (i // 2) / 4) for i in range(4)]
    expected = [math.sin(angles[0]), math.cos(angles[1]), math.sin(angles[2]), math.cos(angles[3])]
    np.testing.assert_allclose(encoded[0, 1, :4], expected, atol=1e-5)
    assert encoded[0, 0, :4].tolist() == [0, 1, 0, 1]
    assert torch.equal(encoded[0, 1, :4], encoded[0, 1, 60:])


def test_positions_are_those_of_the_ground() -> None:
    """Columns first, then rows; a rectangle has those of the square around it."""
    cpu = torch.device("cpu")
    square = position_encoding(3, 3, 2, 16, cpu).view(3, 3, 16)
    assert torch.equal(position_encoding(2, 3, 2, 16, cpu).view(2, 3, 16), square[:2])
    frequencies = [1 / 10_000 ** (i / 4) for i in range(4)]
    expected = [math.sin(4 * f) for f in frequencies] + [math.cos(4 * f) for f in frequencies]
    np.testing.assert_allclose(square[0, 2, :8], expected, atol=1e-6)
    assert torch.equal(square[2, 0, 8:], square[0, 2, :8])


def test_relative_positions_grow_coarser_with_distance() -> None:
    """Rows 3, 4, 5, 5 for distances 0 to 3, 6 beyond, 7 with the class token."""
    rows = distance_buckets(2, 6, torch.device("cpu"))
    assert rows[0].tolist() == rows[:, 0].tolist() == [7] * 13
    assert rows[1, 1:7].tolist() == [3, 4, 5, 5, 6, 6]
    # One row down: 1, sqrt 2, sqrt 5, sqrt 10, sqrt 17, sqrt 26.
    assert rows[1, 7:].tolist() == [4, 4, 5, 5, 6, 6]
