"""Galileo's inputs: scaling, dates, locations, patches, and samples that do not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.galileo.card import MAX_TOKENS, S2_BANDS
from tests.models import small
from tests.models.galileo.samples import MODEL, all_auxiliary, auxiliary, s2, times

# Statistics of the paper's training data: config/normalization.json of the released repository.
S2_MEAN = (
    1395.3408730676722, 1338.4026921784578, 1343.09883810357, 1543.8607982512297,
    2186.2022069512263, 2525.0932853316694, 2410.3377187373408, 2750.2854646886753,
    2234.911100061487, 1474.5311266077113,
)  # fmt: skip
S2_STD = (
    917.7041440370853, 913.2988423581528, 1092.678723527555, 1047.2206083460424,
    1048.0101611156767, 1143.6903026819996, 1098.979177731649, 1204.472755085893,
    1145.9774063078878, 980.2429840007796,
)  # fmt: skip


def test_two_deviations_either_side_become_0_to_1() -> None:
    """Digital numbers are scaled by (x - mean + 2 std) / (4 std), band by band."""
    mean, std = np.asarray(S2_MEAN), np.asarray(S2_STD)
    rows = np.stack([mean - 2 * std, mean, mean + 2 * std, mean], axis=1)
    pixels = np.repeat(rows[..., None], 4, axis=2)
    values = MODEL.prepare(Sample(pixels, S2_BANDS, "s2"))["s2"]
    assert values.shape == (1, 10, 4, 4)
    expected = np.broadcast_to(np.asarray([0, 0.5, 1, 0.5])[:, None], (10, 4, 4))
    np.testing.assert_allclose(values[0], expected, atol=1e-6)


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
    values = MODEL.prepare(Sample(power, ("VV", "VH"), "s1"))["s1"]
    expected = (-10 - (-11.728724389184965 - 2 * 4.887145774840316)) / (4 * 4.887145774840316)
    np.testing.assert_allclose(values[0, 0, :3], expected, rtol=1e-6)
    assert np.isfinite(values).all()
    with pytest.raises(ModelError, match="decibels"):
        MODEL.prepare(Sample(-power, ("VV", "VH"), "s1"))


@pytest.mark.parametrize(
    ("sample", "months"),
    [
        (s2(2, 10, 4, 4, times=times("2021-01-31", "2021-12-01")), [0, 11]),
        (s2(10, 4, 4, times=times("2021-03-01", "2021-05-20", "2021-05-30")), [3]),
        (s2(10, 4, 4), [5]),
        (s2(2, 10, 4, 4), [5, 5]),
    ],
)
def test_months(sample: Sample, months: list[int]) -> None:
    """From 0; of one image the middle of its scenes' times; June where nothing is known."""
    assert MODEL.prepare(sample)["months"].tolist() == months


def test_sides_that_are_no_multiple_of_the_patch() -> None:
    """The region is resized to whole patches, and the network gets the new pixel size."""
    inputs = MODEL.prepare(s2(10, 10, 13, grid=small.utm(10, 13, 20.0)))
    assert inputs["s2"].shape[-2:] == inputs["ndvi"].shape[-2:] == (12, 12)
    np.testing.assert_allclose(inputs["resolution_um"] / 1e6, [20 * 10 / 12, 20 * 13 / 12])
    whole = MODEL.prepare(s2(10, 12, 16, grid=small.utm(12, 16, 20.0)))
    assert whole["s2"].shape[-2:] == (12, 16)
    assert whole["resolution_um"].tolist() == [20_000_000, 20_000_000]


def test_location() -> None:
    """The center of the region on the unit sphere, only if the request asks for it."""
    located = MODEL.with_options({"location": True})
    lon, lat = math.radians(9.0), math.radians(45.1456)
    point = located.prepare(s2(10, 8, 8, grid=small.utm(8, 8)))["location"]
    expected = [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)]
    np.testing.assert_allclose(point, expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(point), 1, rtol=1e-6)
    assert "location" not in MODEL.prepare(s2(10, 8, 8, grid=small.utm(8, 8)))
    with pytest.raises(ModelError, match="location of the pixels is not known"):
        located.prepare(s2(10, 8, 8))


def test_auxiliary_inputs_are_scaled_and_averaged() -> None:
    """All kinds at once; land cover also gives its mean over the region."""
    inputs = MODEL.prepare(s2(3, 10, 8, 8, extras=all_auxiliary(3, 8)))
    shapes = {name: inputs[name].shape for name in ("s1", "srtm", "era5", "viirs", "landscan")}
    assert shapes == {
        "s1": (3, 2, 8, 8), "srtm": (2, 8, 8), "era5": (3, 2), "viirs": (3, 1), "landscan": (1,),
    }  # fmt: skip
    cereal = auxiliary("worldcereal", 5, 8, 8).pixels / 100
    np.testing.assert_allclose(inputs["worldcereal"], cereal, atol=1e-7)
    np.testing.assert_allclose(inputs["worldcereal_static"], cereal.mean(axis=(1, 2)), atol=1e-7)
    people = auxiliary("landscan", 1, 1, 1).pixels[0, 0]
    np.testing.assert_allclose(inputs["landscan"], (people + 2120) / 4618, atol=1e-7)


def test_auxiliary_inputs_of_pixels() -> None:
    """Of climate the mean over the region counts; gaps are left out, in maps filled with it."""
    extras = all_auxiliary(2, 8)
    era5 = np.arange(2 * 2 * 4.0).reshape(2, 2, 2, 2).astype(np.float32)
    seen = np.ones((2, 2, 2), bool)
    seen[0, 0, 0] = seen[1] = False
    extras["era5"] = replace(extras["era5"], pixels=era5, valid=seen)
    heights = np.full((2, 8, 8), 100, np.float32)
    heights[:, 0] = -1
    extras["srtm"] = replace(extras["srtm"], pixels=heights, valid=heights[0] > 0)
    filled, plain = (
        MODEL.prepare(s2(2, 10, 8, 8, extras=samples))
        for samples in (
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
        np.testing.assert_array_equal(filled[name], plain[name])
    one = {name: replace(extras[name], pixels=extras[name].pixels[0]) for name in ("era5", "viirs")}
    one["era5"] = replace(one["era5"], valid=seen[0])
    alone = MODEL.prepare(s2(10, 8, 8, extras=one))
    np.testing.assert_array_equal(alone["era5"], filled["era5"][:1])


@pytest.mark.parametrize(
    ("sample", "options", "message", "field"),
    [
        (s2(9, 8, 8, bands=S2_BANDS[:-1]), {}, "expected", "sensor"),
        (s2(10, 8, 8, bands=S2_BANDS[::-1]), {}, "reads the bands B2, B3", "sensor.bands"),
        (s2(10, 3, 8), {}, "at least 4 x 4 pixels", "spatial"),
        (s2(10, 7, 8), {"patch_size": 8}, "at least 8 x 8 pixels", "spatial"),
        (
            s2(10, 8, 8),
            {"patch_size": 9},
            "accepted: integer from 1 to 8",
            "model_config.patch_size",
        ),
        (s2(10, 8, 8), {"patch_size": True}, "accepted: int", "model_config.patch_size"),
        (s2(10, 8, 8), {"patch_size": "4"}, "accepted: int", "model_config.patch_size"),
        (s2(10, 8, 8), {"location": 1}, "accepted: bool", "model_config.location"),
        (s2(25, 10, 4, 4), {}, "up to 24 frames, got 25", "temporal"),
        (s2(2, 10, 4, 4, times=times("2021-01-31")), {}, "2 frames but 1 times", "temporal"),
        (s2(10, 64, 64), {"patch_size": 1}, "24,576 tokens", "spatial"),
        (s2(10, 8, 8, extras={"pollen": s2(10, 8, 8)}), {}, "not read 'pollen'", "modality"),
        (s2(10, 8, 8, extras={"s1": auxiliary("s1", 2, 2, 8, 8)}), {}, "s1 has shape", "sensor"),
        (s2(10, 8, 8, extras={"srtm": auxiliary("srtm", 2, 4, 4)}), {}, "srtm has shape", "sensor"),
        (auxiliary("srtm", 2, 8, 8), {}, "only as an auxiliary input of s1 or s2", "modality"),
    ],
)
def test_samples_that_do_not_fit(
    sample: Sample, options: dict[str, Any], message: str, field: str
) -> None:
    """Each is refused, with what was wrong and which parameter to change."""
    with pytest.raises(ModelError, match=message) as caught:
        MODEL.with_options(options).prepare(sample)
    assert caught.value.field == field


def test_the_limit_of_tokens_counts_all_images() -> None:
    """Frames and radar count as patches do; what is just small enough is taken."""
    largest = 24 * (MAX_TOKENS // 7 // 24)
    side = math.isqrt(largest // 24)
    sample = s2(24, 10, side, side, extras={"s1": auxiliary("s1", 24, 2, side, side)})
    MODEL.with_options({"patch_size": 1}).prepare(sample)
    sample = s2(
        24, 10, side + 1, side + 1, extras={"s1": auxiliary("s1", 24, 2, side + 1, side + 1)}
    )
    with pytest.raises(ModelError, match="tokens"):
        MODEL.with_options({"patch_size": 1}).prepare(sample)


def test_options_leave_the_served_model_as_it_is() -> None:
    """Options of one request are not seen by the next."""
    assert MODEL.with_options({"patch_size": 2}).prepare(s2(10, 8, 8))["patch_size"] == 2
    assert MODEL.prepare(s2(10, 8, 8))["patch_size"] == 4
