"""Invented landscapes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from imagery.demo.items import CLOUD_FRACTIONS
from imagery.demo.landscape import (
    BANDS,
    FIELD,
    FOREST,
    RIVER,
    ROAD,
    TOWN,
    Landscape,
    cloud_percentage,
    to_top_of_atmosphere,
)
from imagery.demo.regions import DEMO_REGIONS, DemoRegion

LAND = DEMO_REGIONS[1].landscape


def vegetation_index(land: Landscape, month: int, cover: int) -> float:
    """Mean NDVI of a cover in a month."""
    seen = land.reflectance(month)[:, land.land_cover == cover]
    return float(((seen[7] - seen[3]) / (seen[7] + seen[3])).mean())


def test_the_same_seed_draws_the_same_land() -> None:
    """Nothing depends on the order of calls or on an earlier drawing."""
    again = Landscape(LAND.seed, LAND.size, LAND.peak_month, LAND.base_m, LAND.relief_m)
    again.backscatter(3)
    for one, other in zip(LAND.scene(5, 0.3), again.scene(5, 0.3), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(LAND.elevation, again.elevation)


DIGESTS = {
    "savanna": "1f0d14d5817035bf",
    "midlatitude": "e355674e5edefe6d",
    "delta": "475d87a19f416d68",
    "lowland": "c381d83fee717554",
}


@pytest.mark.parametrize("region", DEMO_REGIONS, ids=lambda region: region.name)
def test_every_machine_draws_the_same_land(region: DemoRegion) -> None:
    """Pixels are these, bit for bit; an intended change raises `DEMO_VERSION`."""
    land = region.landscape
    numbers, classes = land.scene(2, CLOUD_FRACTIONS[(1 + region.first_cloud_index) % 12])
    digest = hashlib.sha256()
    for array in (land.elevation, numbers, classes, land.backscatter(2)):
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    assert digest.hexdigest()[:16] == DIGESTS[region.name]


@pytest.mark.parametrize("region", DEMO_REGIONS, ids=lambda region: region.name)
def test_every_cover_is_there(region: DemoRegion) -> None:
    """Fields, forest, river, town and roads each take part of 256 x 256 pixels."""
    cover = region.landscape.land_cover
    for kind, least in ((FIELD, 0.3), (FOREST, 0.02), (RIVER, 0.02), (TOWN, 0.02), (ROAD, 0.002)):
        assert (cover == kind).sum() > least * 256**2


def test_fields_have_seasons_and_water_is_dark() -> None:
    """Green in the growing season, bare in the other; water absorbs the near infrared."""
    assert vegetation_index(LAND, 6, FIELD) > vegetation_index(LAND, 12, FIELD) + 0.2
    assert vegetation_index(LAND, 6, FOREST) > 0.6
    assert vegetation_index(LAND, 6, RIVER) < 0
    assert LAND.reflectance(6)[7][LAND.land_cover == RIVER].mean() < 300


def test_each_region_keeps_its_own_calendar() -> None:
    """The savanna is green after the rains of April, when the north only wakes up."""
    savanna = DEMO_REGIONS[0].landscape
    assert vegetation_index(savanna, 4, FIELD) > vegetation_index(savanna, 9, FIELD) + 0.2
    assert vegetation_index(LAND, 7, FIELD) > vegetation_index(LAND, 2, FIELD) + 0.2


def test_the_classification_names_what_is_there() -> None:
    """Water, vegetation, bare and dark ground, shadow, cirrus and both kinds of cloud."""
    _, classes = LAND.scene(4, 0.5)
    assert set(np.unique(classes)) == {2, 3, 4, 5, 6, 8, 9, 10}
    _, clear = LAND.scene(6, 0)
    assert set(np.unique(clear)) == {2, 4, 5, 6}
    assert (clear[LAND.land_cover == RIVER] == 6).all()
    assert (clear[LAND.land_cover == ROAD] == 2).mean() > 0.8
    assert (clear[LAND.land_cover == FOREST] == 4).mean() > 0.95


def test_shadows_lie_beside_clouds_and_are_dark() -> None:
    """A shadow darkens the ground it falls on, without turning it into anything else."""
    numbers, classes = LAND.scene(4, 0.5)
    fields = (classes == 3) & (LAND.land_cover == FIELD)
    ground = LAND.reflectance(4)[7]
    assert fields.any()
    assert numbers[7][fields].mean() < 0.8 * ground[fields].mean()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_the_cloud_share_is_what_is_drawn(share: float) -> None:
    """Clouds cover about what was asked for, and the classification says so."""
    numbers, classes = LAND.scene(4, share)
    assert cloud_percentage(classes) == pytest.approx(100 * share, abs=2)
    assert numbers.min() > 0
    if share:
        assert (numbers[1][classes == 9] > 5000).all()
        assert (classes == 3).any()


def test_radar_sees_the_town_bright_and_the_water_dark() -> None:
    """Order of the covers in both polarisations."""
    for channel in LAND.backscatter(6):
        means = [channel[LAND.land_cover == kind].mean() for kind in (TOWN, FOREST, FIELD, RIVER)]
        assert means == sorted(means, reverse=True)


def test_air_is_blue_and_vapour_dark() -> None:
    """Dark ground is brighter from space, the more in blue; vapour takes from bright ground."""
    dark, bright = (np.full((12, 1, 1), value, np.uint16) for value in (160, 4000))
    of_dark, of_bright = to_top_of_atmosphere(dark)[:, 0, 0], to_top_of_atmosphere(bright)[:, 0, 0]
    blue, red, vapour = (BANDS.index(band) for band in ("B2", "B4", "B9"))
    assert of_dark[blue] > of_dark[red] > 160
    assert of_bright[vapour] == of_bright.min() < 2000
