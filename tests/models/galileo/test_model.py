"""Galileo: inputs of many kinds, dates, places, patches, and files that are not its own."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from inference import pooling
from models.galileo.card import CARD, MAX_TOKENS, S2_BANDS, S2_MEAN, S2_STD
from models.galileo.model import Galileo
from models.galileo.network import (
    PatchEmbedding,
    ground_position_encoding,
    kernel_resize_matrix,
    sincos_encoding,
)
from models.weights.checkpoints import CheckpointError
from tests.models import small

CONFIG = small.config(Galileo)
MODEL = Galileo(CONFIG)


def s2(*shape: int, bands: tuple[str, ...] = S2_BANDS, **fields: Any) -> Sample:
    """Sentinel-2 digital numbers: noise."""
    pixels = np.random.default_rng(sum(shape)).integers(1, 8000, shape).astype(np.float32)
    return Sample(pixels, bands, "s2", **fields)


def further(name: str, *shape: int) -> Sample:
    """A further input: noise in 0..1."""
    pixels = np.random.default_rng(len(name)).random(shape, np.float32)
    return Sample(pixels, CARD.modalities[name].sensor.bands, name)


def all_further(frames: int, side: int) -> dict[str, Sample]:
    """Every further input that there is."""
    return {
        "s1": further("s1", frames, 2, side, side),
        "srtm": further("srtm", 2, side, side),
        "dynamic_world": further("dynamic_world", 9, side, side),
        "worldcereal": further("worldcereal", 5, side, side),
        "era5": further("era5", frames, 2, 1, 1),
        "terraclimate": further("terraclimate", frames, 3, 1, 1),
        "viirs": further("viirs", frames, 1, 1, 1),
        "landscan": further("landscan", 1, 1, 1),
    }


def days(*texts: str) -> tuple[datetime, ...]:
    """Instants."""
    return tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts)


# -- inputs ------------------------------------------------------------------------------------


def test_two_deviations_either_side_become_0_to_1() -> None:
    """Digital numbers are scaled by (x - mean + 2 std) / (4 std), band by band."""
    mean, std = np.asarray(S2_MEAN), np.asarray(S2_STD)
    rows = np.stack([mean - 2 * std, mean, mean + 2 * std, mean], axis=1)
    pixels = np.repeat(rows[..., None], 4, axis=2)
    found = MODEL.prepare(Sample(pixels, S2_BANDS, "s2"))["s2"]
    assert found.shape == (1, 10, 4, 4)
    expected = np.broadcast_to(np.asarray([0, 0.5, 1, 0.5])[:, None], (10, 4, 4))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_ndvi_is_that_of_the_raw_numbers() -> None:
    """(B8 - B4) / (B8 + B4), and 0 where both are dark."""
    pixels = np.zeros((10, 4, 4), np.float32)
    pixels[S2_BANDS.index("B8"), 0] = 3000
    pixels[S2_BANDS.index("B4"), 0] = 1000
    ndvi = MODEL.prepare(Sample(pixels, S2_BANDS, "s2"))["ndvi"]
    assert ndvi.shape == (1, 1, 4, 4)
    np.testing.assert_allclose(ndvi[0, 0, 0], 0.5)
    np.testing.assert_array_equal(ndvi[0, 0, 1:], 0)


def test_radar_comes_as_power_and_is_read_in_decibels() -> None:
    """0.1 is -10 dB; no power at all stays finite; decibels are recognised and refused."""
    power = np.full((2, 4, 4), 0.1, np.float32)
    power[:, 3] = 0
    found = MODEL.prepare(Sample(power, ("VV", "VH"), "s1"))["s1"]
    expected = (-10 - (-11.728724389184965 - 2 * 4.887145774840316)) / (4 * 4.887145774840316)
    np.testing.assert_allclose(found[0, 0, :3], expected, rtol=1e-6)
    assert np.isfinite(found).all()
    with pytest.raises(ModelError, match="decibels"):
        MODEL.prepare(Sample(-power, ("VV", "VH"), "s1"))


@pytest.mark.parametrize(
    ("sample", "months"),
    [
        (s2(2, 10, 4, 4, times=days("2021-01-31", "2021-12-01")), [0, 11]),
        (s2(10, 4, 4, times=days("2021-03-01", "2021-05-20", "2021-05-30")), [3]),
        (s2(10, 4, 4), [5]),
        (s2(2, 10, 4, 4), [5, 5]),
    ],
)
def test_months(sample: Sample, months: list[int]) -> None:
    """From 0; of one image the middle of its scenes' times; June where nothing is known."""
    assert MODEL.prepare(sample)["months"].tolist() == months


def test_sides_that_are_no_multiple_of_the_patch() -> None:
    """The place is resized to whole patches, and the network is told the new pixel size."""
    inputs = MODEL.prepare(s2(10, 10, 13, grid=small.utm(10, 13, 20.0)))
    assert inputs["s2"].shape[-2:] == inputs["ndvi"].shape[-2:] == (12, 12)
    np.testing.assert_allclose(inputs["resolution_um"] / 1e6, [20 * 10 / 12, 20 * 13 / 12])
    whole = MODEL.prepare(s2(10, 12, 16, grid=small.utm(12, 16, 20.0)))
    assert whole["s2"].shape[-2:] == (12, 16)
    assert whole["resolution_um"].tolist() == [20_000_000, 20_000_000]


def test_location() -> None:
    """The centre of the place on the unit sphere, only where it is asked for."""
    told = MODEL.with_options({"location": True})
    lon, lat = math.radians(9.0), math.radians(45.1456)
    found = told.prepare(s2(10, 8, 8, grid=small.utm(8, 8)))["location"]
    expected = [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found), 1, rtol=1e-6)
    assert "location" not in MODEL.prepare(s2(10, 8, 8, grid=small.utm(8, 8)))
    with pytest.raises(ModelError, match="where the place lies"):
        told.prepare(s2(10, 8, 8))


def test_further_inputs_are_scaled_and_averaged() -> None:
    """All kinds at once; land cover also gives its mean over the place."""
    inputs = MODEL.prepare(s2(3, 10, 8, 8, extras=all_further(3, 8)))
    shapes = {name: inputs[name].shape for name in ("s1", "srtm", "era5", "viirs", "landscan")}
    assert shapes == {
        "s1": (3, 2, 8, 8), "srtm": (2, 8, 8), "era5": (3, 2), "viirs": (3, 1), "landscan": (1,),
    }  # fmt: skip
    cereal = further("worldcereal", 5, 8, 8).pixels / 100
    np.testing.assert_allclose(inputs["worldcereal"], cereal, atol=1e-7)
    np.testing.assert_allclose(inputs["worldcereal_static"], cereal.mean(axis=(1, 2)), atol=1e-7)
    people = further("landscan", 1, 1, 1).pixels[0, 0]
    np.testing.assert_allclose(inputs["landscan"], (people + 2120) / 4618, atol=1e-7)


def test_further_inputs_of_pixels() -> None:
    """Of climate the mean over the place counts; gaps are left out, in maps filled with it."""
    extras = all_further(2, 8)
    era5 = np.arange(2 * 2 * 4.0).reshape(2, 2, 2, 2).astype(np.float32)
    seen = np.ones((2, 2, 2), bool)
    seen[0, 0, 0] = seen[1] = False
    extras["era5"] = replace(extras["era5"], pixels=era5, valid=seen)
    heights = np.full((2, 8, 8), 100, np.float32)
    heights[:, 0] = -1
    extras["srtm"] = replace(extras["srtm"], pixels=heights, valid=heights[0] > 0)
    found, plain = (
        MODEL.prepare(s2(2, 10, 8, 8, extras=each))
        for each in (
            extras,
            extras
            | {
                "era5": replace(
                    extras["era5"],
                    pixels=np.array([[2, 6], [0, 0]], np.float32)[..., None, None],
                    valid=None,
                ),
                "srtm": replace(extras["srtm"], pixels=np.full_like(heights, 100), valid=None),
            },
        )
    )
    for name in ("era5", "srtm"):
        np.testing.assert_array_equal(found[name], plain[name])
    one = {name: replace(extras[name], pixels=extras[name].pixels[0]) for name in ("era5", "viirs")}
    one["era5"] = replace(one["era5"], valid=seen[0])
    alone = MODEL.prepare(s2(10, 8, 8, extras=one))
    np.testing.assert_array_equal(alone["era5"], found["era5"][:1])


@pytest.mark.parametrize(
    ("sample", "options", "says", "field"),
    [
        (s2(9, 8, 8, bands=S2_BANDS[:-1]), {}, "expected", "sensor"),
        (s2(10, 8, 8, bands=S2_BANDS[::-1]), {}, "reads the bands B2, B3", "sensor.bands"),
        (s2(10, 3, 8), {}, "at least 4 x 4 pixels", "spatial"),
        (s2(10, 7, 8), {"patch_size": 8}, "at least 8 x 8 pixels", "spatial"),
        (s2(10, 8, 8), {"patch_size": 9}, "accepted: 1 to 8", "model_config.patch_size"),
        (s2(10, 8, 8), {"patch_size": True}, "accepted: int", "model_config.patch_size"),
        (s2(10, 8, 8), {"patch_size": "4"}, "accepted: int", "model_config.patch_size"),
        (s2(10, 8, 8), {"location": 1}, "accepted: bool", "model_config.location"),
        (s2(25, 10, 4, 4), {}, "up to 24 frames, got 25", "temporal"),
        (s2(2, 10, 4, 4, times=days("2021-01-31")), {}, "2 frames but 1 times", "temporal"),
        (s2(10, 64, 64), {"patch_size": 1}, "24,576 tokens", "spatial"),
        (s2(10, 8, 8, extras={"pollen": s2(10, 8, 8)}), {}, "not read 'pollen'", "modality"),
        (s2(10, 8, 8, extras={"s1": further("s1", 2, 2, 8, 8)}), {}, "s1 has shape", "sensor"),
        (s2(10, 8, 8, extras={"srtm": further("srtm", 2, 4, 4)}), {}, "srtm has shape", "sensor"),
        (further("srtm", 2, 8, 8), {}, "only as a further input of s1 or s2", "modality"),
    ],
)
def test_samples_that_do_not_fit(
    sample: Sample, options: dict[str, Any], says: str, field: str
) -> None:
    """Each is refused, with what was wrong and which parameter to change."""
    with pytest.raises(ModelError, match=says) as caught:
        MODEL.with_options(options).prepare(sample)
    assert caught.value.field == field


def test_the_limit_of_tokens_counts_all_images() -> None:
    """Frames and radar count as patches do; what is just small enough is taken."""
    largest = 24 * (MAX_TOKENS // 7 // 24)
    side = math.isqrt(largest // 24)
    sample = s2(24, 10, side, side, extras={"s1": further("s1", 24, 2, side, side)})
    MODEL.with_options({"patch_size": 1}).prepare(sample)
    sample = s2(24, 10, side + 1, side + 1, extras={"s1": further("s1", 24, 2, side + 1, side + 1)})
    with pytest.raises(ModelError, match="tokens"):
        MODEL.with_options({"patch_size": 1}).prepare(sample)


def test_options_leave_the_served_model_as_it_is() -> None:
    """Options of one request are not seen by the next."""
    assert MODEL.with_options({"patch_size": 2}).prepare(s2(10, 8, 8))["patch_size"] == 2
    assert MODEL.prepare(s2(10, 8, 8))["patch_size"] == 4


# -- network -----------------------------------------------------------------------------------


def test_batch_equals_single() -> None:
    """Any order, with neighbours of another month, pixel size, patch, shape and set of inputs."""
    coarse = MODEL.with_options({"patch_size": 8})
    batch = [
        MODEL.prepare(s2(10, 16, 16, times=days("2021-01-31"))),
        MODEL.prepare(s2(10, 16, 16, times=days("2021-08-31"), grid=small.utm(16, 16, 20.0))),
        coarse.prepare(s2(10, 16, 16)),
        MODEL.prepare(s2(2, 10, 16, 8)),
        MODEL.prepare(s2(2, 10, 16, 16, extras=all_further(2, 16))),
        MODEL.prepare(further("s1", 2, 16, 16)),
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

    inputs = MODEL.prepare(s2(2, 10, 8, 8, extras=all_further(2, 8)))
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
    """Exponents are -i / dim / 2, as in the authors' code; positions count 10 m."""
    found = sincos_encoding(torch.tensor([0.0, 30.0]), 8)
    angles = [3 / 10_000 ** (i / 8 / 2) for i in range(4)]
    expected = [*map(math.sin, angles), *map(math.cos, angles)]
    torch.testing.assert_close(found[0].tolist(), [0.0] * 4 + [1.0] * 4)
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)


def test_positions_are_those_of_the_ground() -> None:
    """Columns first, then rows; a rectangle has those of the square around it."""
    square = ground_position_encoding(3, 3, torch.tensor([[40.0, 40.0]]), 16)
    assert torch.equal(
        ground_position_encoding(2, 3, torch.tensor([[40.0, 40.0]]), 16), square[:, :2]
    )
    assert torch.equal(square[0, 0, 2, :8], sincos_encoding(torch.tensor(80.0), 8))
    assert torch.equal(square[0, 2, 0, 8:], sincos_encoding(torch.tensor(80.0), 8))
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


# -- files -------------------------------------------------------------------------------------

ARCH = {"embedding_size": 32, "depth": 1, "num_heads": 2, "drop_path": 0.1}


def authors_file() -> dict[str, torch.Tensor]:
    """A small encoder under the names of the authors' file."""
    return Galileo.seeded_state_dict(CONFIG)


@pytest.mark.parametrize("record", [{"arch": ARCH}, {"model": {"encoder": ARCH, "decoder": {}}}])
@pytest.mark.parametrize("inserted", ["", ".backbone"])
def test_the_authors_file(record: dict[str, Any], inserted: str) -> None:
    """Names are the network's own, but for a word that some files have within them."""
    file = {name.replace(".", f"{inserted}.", 1): tensor for name, tensor in authors_file().items()}
    config, tensors = Galileo.convert(file, record, "nano")
    assert config == CONFIG
    Galileo(config).network().load_state_dict(tensors, strict=True)


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("norm.bias", None, "missing norm.bias"),
        ("decoder.norm.bias", (32,), "unexpected decoder.norm.bias"),
        ("pos_embed", (12, 8), "pos_embed has shape"),
        ("blocks.1.norm1.bias", (32,), "unexpected blocks.1.norm1.bias"),
    ],
)
def test_files_that_do_not_fit(name: str, shape: tuple[int, ...] | None, says: str) -> None:
    """A missing, surplus or misshapen tensor is named."""
    file = small.spoilt(authors_file(), name, shape)
    with pytest.raises(CheckpointError, match=says):
        Galileo.convert(file, {"arch": ARCH}, "nano")


def test_a_file_of_another_model() -> None:
    """Refused by names that a Galileo lacks."""
    with pytest.raises(CheckpointError, match="unexpected cls_token"):
        Galileo.convert({"cls_token": torch.zeros(1, 1, 8)}, {}, "nano")


def test_another_variant() -> None:
    """Refused by its configuration, or without one by the shapes."""
    record = {"arch": {"embedding_size": 192, "depth": 12, "num_heads": 3}}
    with pytest.raises(CheckpointError, match="that of tiny, not of nano"):
        Galileo.convert({}, record, "nano")
    nano = Galileo(Galileo.default_config("nano")).network().state_dict()
    smaller = nano | authors_file()
    with pytest.raises(CheckpointError, match=r"pos_embed has shape \(24, 8\), expected 24x32"):
        Galileo.convert(smaller, {}, "nano")


@pytest.mark.parametrize(
    "arch",
    [
        {"embedding_size": 30, "depth": 1, "num_heads": 2},
        {"embedding_size": 32, "depth": 0, "num_heads": 2},
        {"embedding_size": 32, "depth": "1", "num_heads": 2},
        {"depth": 1, "num_heads": 2},
    ],
)
def test_configurations_without_sense(arch: dict[str, Any]) -> None:
    """Refused before a network is made."""
    with pytest.raises(CheckpointError, match=r"embedding_size|depth"):
        Galileo.convert(authors_file(), {"arch": arch}, "nano")
