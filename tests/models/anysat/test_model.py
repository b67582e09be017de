"""AnySat: series and aerial images of one ground, days, patches, and files that are not its own."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from inference import pooling
from models.anysat import network as networks
from models.anysat.model import (
    AERIAL_MEAN,
    AERIAL_STD,
    CARD,
    RATIO_MEAN,
    RATIO_STD,
    S1_MEAN,
    S1_STD,
    S2_BANDS,
    S2_MEAN,
    S2_STD,
    UNUSED_SENSORS,
    AnySat,
)
from models.weights.checkpoints import CheckpointError
from tests.models import small

CONFIG = small.config(AnySat)
MODEL = AnySat(CONFIG)
FINE = MODEL.with_options({"patch_size": 20})
JUNE = datetime(2021, 6, 15, tzinfo=UTC)


def dates(count: int) -> tuple[datetime, ...]:
    """Instants, forty days apart."""
    return tuple(JUNE + timedelta(days=40 * number) for number in range(count))


def noise(*shape: int) -> NDArray[np.float32]:
    """Numbers from 0 to 1, the same for every shape."""
    return np.random.default_rng(sum(shape)).random(shape, np.float32)


def s2(*shape: int, **fields: Any) -> Sample:
    """Sentinel-2 digital numbers with a date per frame."""
    fields = {"bands": S2_BANDS, "modality": "s2", "times": dates(_frames(shape)), **fields}
    return Sample(8000 * noise(*shape), **fields)


def s1(*shape: int, **fields: Any) -> Sample:
    """Radar power with a date per frame."""
    return Sample(
        0.01 + noise(*shape), ("VV", "VH"), "s1", **{"times": dates(_frames(shape)), **fields}
    )


def aerial(side: int, **fields: Any) -> Sample:
    """Brightness of square ground, `side` metres."""
    return Sample(255 * noise(4, 5 * side, 5 * side), ("R", "G", "B", "N"), "aerial", **fields)


def _frames(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) == 4 else 1


# -- inputs ------------------------------------------------------------------------------------


def test_digital_numbers_become_z_scores() -> None:
    """Mean and mean plus deviation of each band become 0 and 1; nothing is cut off."""
    mean, std = np.asarray(S2_MEAN), np.asarray(S2_STD)
    rows = np.stack([mean, mean + std, mean - std, mean + 20 * std], axis=1)
    pixels = np.repeat(rows[..., None], 4, axis=2)
    found = MODEL.prepare(Sample(pixels, S2_BANDS, "s2", times=dates(1)))["s2"]
    assert found.shape == (1, 10, 4, 4)
    np.testing.assert_allclose(
        found[0], np.broadcast_to(np.asarray([0, 1, -1, 20])[:, None], (10, 4, 4)), atol=1e-5
    )


def test_radar_is_read_in_decibels_with_their_difference() -> None:
    """VV, VH and VV - VH of linear power, each by its own statistics; decibels are refused."""
    power = np.broadcast_to(np.asarray([0.1, 0.01])[:, None, None], (2, 4, 4))
    found = MODEL.prepare(Sample(power, ("VV", "VH"), "s1", times=dates(1)))["s1"]
    expected = [
        (-10 - S1_MEAN[0]) / S1_STD[0],
        (-20 - S1_MEAN[1]) / S1_STD[1],
        (10 - RATIO_MEAN) / RATIO_STD,
    ]
    np.testing.assert_allclose(found[0, :, 0, 0], expected, rtol=1e-5)
    with pytest.raises(ModelError, match="are they decibels"):
        MODEL.prepare(Sample(-power, ("VV", "VH"), "s1", times=dates(1)))


def test_aerial_images_have_fifty_pixels_a_cell() -> None:
    """A patch of 40 m is 200 pixels; no dates are needed."""
    inputs = MODEL.prepare(aerial(80))
    assert inputs["aerial"].shape == (4, 400, 400)
    assert inputs["patches"].tolist() == [2, 2]
    assert set(inputs) == {"aerial", "patches", "patch_m"}
    expected = (255 * noise(4, 400, 400)[2, 5, 7] - AERIAL_MEAN[2]) / AERIAL_STD[2]
    np.testing.assert_allclose(inputs["aerial"][2, 5, 7], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("sample", "days"),
    [
        (s2(2, 10, 4, 4, times=(datetime(2021, 1, 1, tzinfo=UTC), JUNE)), [0, 165]),
        (s2(1, 10, 4, 4, times=(datetime(2020, 12, 31, 23, tzinfo=UTC),)), [365]),
        (s2(10, 4, 4, times=(JUNE, JUNE + timedelta(days=2), JUNE + timedelta(days=20))), [175]),
    ],
)
def test_days_count_from_0(sample: Sample, days: list[int]) -> None:
    """January 1st is 0; one image has the day in the middle of its scenes' times."""
    assert MODEL.prepare(sample)["s2_days"].tolist() == days


def test_places_are_brought_to_whole_patches_of_the_ground() -> None:
    """Sides go to the nearest multiple of the patch, and pixels to 10 m, whatever theirs are."""
    inputs = MODEL.prepare(s2(10, 9, 14, grid=small.utm(9, 14)))
    assert inputs["s2"].shape[-2:] == (8, 16)
    assert inputs["patches"].tolist() == [2, 4]
    coarse = MODEL.prepare(s2(10, 4, 6, grid=small.utm(4, 6, 20.0)))
    assert coarse["s2"].shape[-2:] == (8, 12)
    assert MODEL.prepare(s2(10, 8, 12))["s2"].shape[-2:] == (8, 12)


def test_pixels_without_data_are_marked_in_their_frame() -> None:
    """Of a series, of one image, and of neither."""
    valid = np.ones((2, 4, 4), np.bool_)
    valid[1, 0, 3] = False
    found = MODEL.prepare(s2(2, 10, 4, 4, valid=valid))["s2_missing"]
    np.testing.assert_array_equal(found, ~valid)
    found = MODEL.prepare(s2(10, 4, 4, valid=valid[1]))["s2_missing"]
    np.testing.assert_array_equal(found, ~valid[1:])
    assert not MODEL.prepare(s2(2, 10, 4, 4))["s2_missing"].any()


def test_modalities_keep_their_own_dates() -> None:
    """Series of different lengths go together, in whichever is the first."""
    optical, radar = s2(3, 10, 4, 4), s1(5, 2, 4, 4)
    inputs = MODEL.prepare(replace(optical, extras={"s1": radar, "aerial": aerial(40)}))
    assert {name: inputs[name].shape for name in ("s2", "s1", "aerial", "s1_days")} == {
        "s2": (3, 10, 4, 4), "s1": (5, 3, 4, 4), "aerial": (4, 200, 200), "s1_days": (5,),
    }  # fmt: skip
    turned = MODEL.prepare(replace(radar, extras={"s2": optical, "aerial": aerial(40)}))
    assert list(inputs) == list(turned)
    for name, array in inputs.items():
        np.testing.assert_array_equal(turned[name], array)


def beside(**extras: Sample) -> Sample:
    """Sentinel-2 of 40 m with further inputs."""
    return s2(10, 4, 4, extras=extras)


@pytest.mark.parametrize(
    ("sample", "patch", "says", "field"),
    [
        (s2(9, 4, 4, bands=S2_BANDS[:-1]), 40, "reads the bands B2, B3", "sensor.bands"),
        (s2(10, 4, 4, bands=S2_BANDS[::-1]), 40, "in this order", "sensor.bands"),
        (s2(10, 3, 4), 20, "at least 4 x 4 pixels", "spatial"),
        (s2(10, 4, 4, grid=small.utm(4, 4, 5.0)), 40, "20 x 20 m, a patch 40 m", "spatial"),
        (s2(10, 70, 70), 10, "4,900 tokens", "spatial"),
        (s2(10, 260, 260), 100, "67,600 sub-patches", "spatial"),
        (aerial(120), 120, "with aerial images: up to 100", "model_config.patch_size"),
        (s2(10, 4, 4), 25, "multiples of 10 from 10 to 200", "model_config.patch_size"),
        (s2(10, 4, 4), 210, "multiples of 10", "model_config.patch_size"),
        (s2(10, 4, 4), True, "patch_size is True", "model_config.patch_size"),
        (s2(2, 10, 4, 4, times=dates(1)), 40, "2 frames but 1 times", "temporal"),
        (s2(10, 4, 4, times=()), 40, "needs the dates of s2", "temporal"),
        (beside(s1=s1(2, 4, 4, times=())), 40, "needs the dates of s1", "temporal"),
        (beside(pollen=s2(10, 4, 4)), 40, "does not read 'pollen'", "modality"),
        (beside(s1=s1(2, 8, 8)), 40, r"s1 has other ground \(80 x 80 m\) than s2", "spatial"),
        (beside(aerial=aerial(60)), 40, "aerial has other ground", "spatial"),
        (beside(aerial=replace(aerial(40), pixels=noise(1, 4, 200, 200))), 40, "shape", "sensor"),
        (s2(0, 10, 4, 4, times=()), 40, "shape", "sensor"),
    ],
)
def test_samples_that_do_not_fit(sample: Sample, patch: Any, says: str, field: str) -> None:
    """Each is refused, with what was wrong and which parameter to change."""
    with pytest.raises(ModelError, match=says) as caught:
        MODEL.with_options({"patch_size": patch}).prepare(sample)
    assert caught.value.field == field


def test_ground_elsewhere_is_refused() -> None:
    """Equal sizes are not enough where grids say that the ground is another."""
    here = s2(10, 4, 4, grid=small.utm(4, 4))
    near, far = (s1(2, 4, 4, grid=small.utm(4, 4, left=5e5 + by)) for by in (3, 30))
    MODEL.prepare(replace(here, extras={"s1": near}))
    with pytest.raises(ModelError, match="need the same bounds"):
        MODEL.prepare(replace(here, extras={"s1": far}))


# -- network -----------------------------------------------------------------------------------


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


def test_working_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many pixels and patches are computed together is not seen in the vectors."""
    inputs = FINE.prepare(replace(s2(3, 10, 8, 8), extras={"aerial": aerial(80)}))
    model = small.loaded(MODEL)
    whole = small.vectors(model, [inputs])[0]
    monkeypatch.setattr(networks, "CHUNK_SIZE", 100)
    np.testing.assert_allclose(small.vectors(model, [inputs])[0], whole, atol=1e-5)


def test_the_vector_is_the_class_token_and_the_grid_the_patches() -> None:
    """As many cells as patches, whatever the number of modalities and dates."""
    sample = replace(s2(3, 10, 4, 8), extras={"s1": s1(2, 2, 4, 8)})
    encoded = small.loaded(MODEL).encode([FINE.prepare(sample)])
    assert encoded.tokens.shape == (1, 9, 48)
    assert pooling.token_grid(encoded).shape == (1, 48, 2, 4)
    torch.testing.assert_close(pooling.pool(encoded, "native"), encoded.tokens[:, 0])
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
    found = networks.encode_days(torch.tensor([[0, 100]]), 16 * 4)
    assert found.shape == (1, 2, 64)
    angles = [100 / 367 ** (2 * (i // 2) / 4) for i in range(4)]
    expected = [math.sin(angles[0]), math.cos(angles[1]), math.sin(angles[2]), math.cos(angles[3])]
    np.testing.assert_allclose(found[0, 1, :4], expected, atol=1e-5)
    assert found[0, 0, :4].tolist() == [0, 1, 0, 1]
    assert torch.equal(found[0, 1, :4], found[0, 1, 60:])


def test_positions_are_those_of_the_ground() -> None:
    """Columns first, then rows; a rectangle has those of the square around it."""
    cpu = torch.device("cpu")
    square = networks.position_encoding(3, 3, 2, 16, cpu).view(3, 3, 16)
    assert torch.equal(networks.position_encoding(2, 3, 2, 16, cpu).view(2, 3, 16), square[:2])
    frequencies = [1 / 10_000 ** (i / 4) for i in range(4)]
    expected = [math.sin(4 * f) for f in frequencies] + [math.cos(4 * f) for f in frequencies]
    np.testing.assert_allclose(square[0, 2, :8], expected, atol=1e-6)
    assert torch.equal(square[2, 0, 8:], square[0, 2, :8])


def test_relative_positions_grow_coarser_with_distance() -> None:
    """Rows 3, 4, 5, 5 for distances 0 to 3, 6 beyond, 7 with the class token."""
    rows = networks.distance_buckets(2, 6, torch.device("cpu"))
    assert rows[0].tolist() == rows[:, 0].tolist() == [7] * 13
    assert rows[1, 1:7].tolist() == [3, 4, 5, 5, 6, 6]
    # One row down: 1, sqrt 2, sqrt 5, sqrt 10, sqrt 17, sqrt 26.
    assert rows[1, 7:].tolist() == [4, 4, 5, 5, 6, 6]


# -- files -------------------------------------------------------------------------------------

ARCH = {"embed_dim": 48, "depth": 1, "num_heads": 4, "mlp_ratio": 4, "mlp_in": [16, 24, 48]}


def authors_file() -> dict[str, torch.Tensor]:
    """A small network under the names of the authors' file, with what reads other sensors."""
    named = {
        name.replace("projectors.", "projector_"): tensor
        for name, tensor in AnySat.seeded_state_dict(CONFIG).items()
    }
    return named | {f"projector_{name}.mlp.0.bias": torch.zeros(4) for name in UNUSED_SENSORS}


def test_the_authors_file() -> None:
    """Projectors of other sensors are left out; nothing else is."""
    config, tensors = AnySat.convert(authors_file(), {"arch": ARCH, "flash_attn": False}, "base")
    assert config == CONFIG
    AnySat(config).network().load_state_dict(tensors, strict=True)


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("cls_token", None, "missing cls_token"),
        ("projector_s2.pad_parameter", None, "missing projectors.s2.pad_parameter"),
        ("projector_s3.pad_parameter", (), "unexpected projectors.s3.pad_parameter"),
        ("blocks.0.norm1.bias", (24,), "blocks.0.norm1.bias has shape"),
        ("blocks.2.norm1.bias", (48,), "unexpected blocks.2.norm1.bias"),
    ],
)
def test_files_that_do_not_fit(name: str, shape: tuple[int, ...] | None, says: str) -> None:
    """A missing, surplus or misshapen tensor is named."""
    file = small.spoilt(authors_file(), name, shape)
    with pytest.raises(CheckpointError, match=says):
        AnySat.convert(file, {"arch": ARCH}, "base")


def test_a_file_of_another_size() -> None:
    """Without a record the released sizes are expected."""
    with pytest.raises(CheckpointError, match=r"missing blocks\.1\.attn"):
        AnySat.convert(authors_file(), {}, "base")


@pytest.mark.parametrize(
    "wrong",
    [
        {"embed_dim": 50},
        {"embed_dim": 48, "num_heads": 5},
        {"depth": 0},
        {"depth": "1"},
        {"mlp_in": [16, 24]},
        {"mlp_in": [10, 48]},
        {"mlp_in": 48},
    ],
)
def test_configurations_without_sense(wrong: dict[str, Any]) -> None:
    """Refused before a network is made."""
    with pytest.raises(CheckpointError, match=r"embed_dim|depth|mlp_in"):
        AnySat.convert(authors_file(), {"arch": ARCH | wrong}, "base")


def test_the_card_tells_the_parameters() -> None:
    """As many as the released network has here."""
    with torch.device("meta"):
        network = AnySat(AnySat.default_config("base")).network()
    total = sum(parameter.numel() for parameter in network.parameters())
    assert total == CARD.variants["base"].parameters
