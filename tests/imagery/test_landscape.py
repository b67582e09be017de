"""Invented landscapes."""

from __future__ import annotations

import numpy as np
import pytest

from imagery.demo import PLACES
from imagery.landscape import FIELD, FOREST, RIVER, ROAD, TOWN, Landscape, cloud_share

LAND = PLACES[1].landscape


def vegetation_index(land: Landscape, month: int, cover: int) -> float:
    """Mean NDVI of a cover in a month."""
    seen = land.reflectance(month)[:, land.cover == cover]
    return float(((seen[7] - seen[3]) / (seen[7] + seen[3])).mean())


def test_the_same_seed_draws_the_same_land() -> None:
    """Nothing depends on the order of calls or on an earlier drawing."""
    again = Landscape(LAND.seed, LAND.size, LAND.peak_month, LAND.base_m, LAND.relief_m)
    again.backscatter(3)
    for one, other in zip(LAND.scene(5, 0.3), again.scene(5, 0.3), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(LAND.elevation, again.elevation)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_every_cover_is_there(place: object) -> None:
    """Fields, forest, river, town and roads each take part of the square."""
    cover = place.landscape.cover  # type: ignore[attr-defined]
    for kind, least in ((FIELD, 0.3), (FOREST, 0.02), (RIVER, 0.02), (TOWN, 0.02), (ROAD, 0.002)):
        assert (cover == kind).mean() > least


def test_fields_have_seasons_and_water_is_dark() -> None:
    """Green in the growing season, bare in the other; water absorbs the near infrared."""
    assert vegetation_index(LAND, 6, FIELD) > vegetation_index(LAND, 12, FIELD) + 0.2
    assert vegetation_index(LAND, 6, FOREST) > 0.6
    assert vegetation_index(LAND, 6, RIVER) < 0
    assert LAND.reflectance(6)[7][LAND.cover == RIVER].mean() < 300


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_the_cloud_share_is_what_is_drawn(share: float) -> None:
    """Clouds cover about what was asked for, and the classification says so."""
    numbers, classes = LAND.scene(4, share)
    assert cloud_share(classes) == pytest.approx(100 * share, abs=2)
    assert numbers.min() > 0
    if share:
        assert (numbers[1][classes == 9] > 5000).all()
        assert (classes == 3).any()


def test_radar_sees_the_town_bright_and_the_water_dark() -> None:
    """Order of the covers in both polarisations."""
    for channel in LAND.backscatter(6):
        means = [channel[LAND.cover == kind].mean() for kind in (TOWN, FOREST, FIELD, RIVER)]
        assert means == sorted(means, reverse=True)
