"""AnySat's inputs: scaling, days, patches, ground, and samples that do not fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.anysat.card import CARD
from tests.models import small
from tests.models.anysat.samples import JUNE, MODEL, aerial, dates, noise, s1, s2

S2_BANDS = CARD.modalities["s2"].sensor.bands
# Statistics of the released example: demo.ipynb.
S2_MEAN = (
    4304.32958984375, 4159.2666015625, 4057.776611328125, 4328.951171875, 4571.22119140625,
    4644.87109375, 4837.2470703125, 4700.2578125, 2823.264404296875, 2319.97021484375,
)  # fmt: skip
S2_STD = (
    3537.99755859375, 3324.23486328125, 3270.070068359375, 3250.530029296875, 2897.391357421875,
    2754.4970703125, 2821.521484375, 2625.952392578125, 1731.56298828125, 1549.3028564453125,
)  # fmt: skip
S1_MEAN, S1_STD = (3.2893013954162598, -3.682938814163208), (40.11152267456055, 40.535335540771484)
RATIO_MEAN, RATIO_STD = 0.6116273403167725, 1.0343183279037476
AERIAL_MEAN = (150.89349365234375, 92.7138900756836, 84.85437774658203, 80.70423889160156)
AERIAL_STD = (36.764923095703125, 27.62498664855957, 22.479450225830078, 26.733688354492188)


def test_digital_numbers_become_z_scores() -> None:
    """Mean and mean plus deviation of each band become 0 and 1; nothing is cut off."""
    mean, std = np.asarray(S2_MEAN), np.asarray(S2_STD)
    rows = np.stack([mean, mean + std, mean - std, mean + 20 * std], axis=1)
    pixels = np.repeat(rows[..., None], 4, axis=2)
    values = MODEL.prepare(Sample(pixels, S2_BANDS, "s2", times=dates(1)))["s2"]
    assert values.shape == (1, 10, 4, 4)
    np.testing.assert_allclose(
        values[0], np.broadcast_to(np.asarray([0, 1, -1, 20])[:, None], (10, 4, 4)), atol=1e-5
    )


def test_radar_is_read_in_decibels_with_their_difference() -> None:
    """VV, VH and VV - VH of linear power, each by its own statistics; decibels are refused."""
    power = np.broadcast_to(np.asarray([0.1, 0.01])[:, None, None], (2, 4, 4))
    values = MODEL.prepare(Sample(power, ("VV", "VH"), "s1", times=dates(1)))["s1"]
    expected = [
        (-10 - S1_MEAN[0]) / S1_STD[0],
        (-20 - S1_MEAN[1]) / S1_STD[1],
        (10 - RATIO_MEAN) / RATIO_STD,
    ]
    np.testing.assert_allclose(values[0, :, 0, 0], expected, rtol=1e-5)
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


def test_regions_are_brought_to_whole_patches_of_the_ground() -> None:
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
    missing = MODEL.prepare(s2(2, 10, 4, 4, valid=valid))["s2_missing"]
    np.testing.assert_array_equal(missing, ~valid)
    missing = MODEL.prepare(s2(10, 4, 4, valid=valid[1]))["s2_missing"]
    np.testing.assert_array_equal(missing, ~valid[1:])
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
    """Sentinel-2 of 40 m with auxiliary inputs."""
    return s2(10, 4, 4, extras=extras)


@pytest.mark.parametrize(
    ("sample", "patch", "message", "field"),
    [
        (s2(9, 4, 4, bands=S2_BANDS[:-1]), 40, "reads the bands B2, B3", "sensor.bands"),
        (s2(10, 4, 4, bands=S2_BANDS[::-1]), 40, "in this order", "sensor.bands"),
        (s2(10, 3, 4), 20, "at least 4 x 4 pixels", "spatial"),
        (s2(10, 4, 4, grid=small.utm(4, 4, 5.0)), 40, "20 x 20 m, a patch 40 m", "spatial"),
        (s2(10, 70, 70), 10, "4,900 tokens", "spatial"),
        (s2(10, 260, 260), 100, "67,600 sub-patches", "spatial"),
        (aerial(120), 120, "with aerial images: up to 100", "model_config.patch_size"),
        (s2(10, 4, 4), 25, "integer from 10 to 200, a multiple of 10", "model_config.patch_size"),
        (s2(10, 4, 4), 210, "integer from 10 to 200", "model_config.patch_size"),
        (s2(10, 4, 4), True, "does not take True for 'patch_size'", "model_config.patch_size"),
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
def test_samples_that_do_not_fit(sample: Sample, patch: Any, message: str, field: str) -> None:
    """Each is refused, with what was wrong and which parameter to change."""
    with pytest.raises(ModelError, match=message) as caught:
        MODEL.with_options({"patch_size": patch}).prepare(sample)
    assert caught.value.field == field


def test_ground_elsewhere_is_refused() -> None:
    """Equal sizes are not enough where grids say that the ground is another."""
    here = s2(10, 4, 4, grid=small.utm(4, 4))
    near, far = (s1(2, 4, 4, grid=small.utm(4, 4, left=5e5 + by)) for by in (3, 30))
    MODEL.prepare(replace(here, extras={"s1": near}))
    with pytest.raises(ModelError, match="need the same bounds"):
        MODEL.prepare(replace(here, extras={"s1": far}))
