"""Products of Earth Engine that are no scenes: heights, maps, months and years."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geobento import SensorSpec
from geobento.schemas.errors import ModelError, NoImageryError
from imagery import time_bins
from imagery.earth_engine.source import EarthEngineSource
from imagery.query import ImageQuery
from tests.imagery.catalogs import GRID
from tests.imagery.ee_server import Standin
from tests.imagery.world import WorldScene, shifted

SRTM = "USGS/SRTMGL1_003"
DYNAMIC_WORLD = "GOOGLE/DYNAMICWORLD/V1"
CEREAL = "ESA/WorldCereal/2021/MODELS/v100"
ERA5 = "ECMWF/ERA5_LAND/MONTHLY_AGGR"
VIIRS = "NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG"


def day(text: str) -> datetime:
    """Its midnight, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def query(
    collection: str, *bands: str, start: str = "2023-06-01", end: str = "2023-07-01", **fields: Any
) -> ImageQuery:
    """Bands of a collection at the test's region."""
    parts = fields.pop("frames", 1)
    sensor = SensorSpec(collection, bands, **{"cloudy_pct": None, "composite": "mean"} | fields)
    return ImageQuery(sensor, GRID, day(start), day(end), "any", parts)


@dataclass(frozen=True)
class Plane(WorldScene):
    """Heights that rise by 3 m per 10 m to the east and by 4 m to the south."""

    def band(self, name: str) -> NDArray[np.float64]:
        """The heights, whatever the name."""
        rows, columns = np.indices(self.grid.shape)
        return np.asarray(3.0 * columns + 4.0 * rows)


def test_heights_and_slopes_of_one_image(standin: Standin, source: EarthEngineSource) -> None:
    """A plane has one slope; a single image needs no search, and says when it is from."""
    plane = Plane("", "2000-02-11T00:00:00Z", collection=SRTM)
    standin.scenes = [plane]
    both = query(SRTM, "slope", "elevation")
    sample = source.fetch(both)
    np.testing.assert_allclose(sample.pixels[0], np.degrees(np.arctan(0.5)), rtol=1e-6)
    np.testing.assert_array_equal(sample.pixels[1], plane.band("elevation"))
    assert [request.call for request in standin.requests] == ["computePixels"]
    assert sample.provenance is not None
    (used,) = sample.provenance.scenes
    assert (used.id, used.time) == (SRTM, day("2000-02-11"))
    assert source.estimate(both).requests == 1


def test_outside_of_one_image(standin: Standin, source: EarthEngineSource) -> None:
    """Heights end at 60 degrees north: no imagery, as anywhere else."""
    away = shifted(GRID, 500, 0, *GRID.shape)
    standin.scenes = [Plane("", "2000-02-11T00:00:00Z", grid=away, collection=SRTM)]
    with pytest.raises(NoImageryError):
        source.fetch(query(SRTM, "elevation"))


def test_the_mean_of_land_cover(standin: Standin, source: EarthEngineSource) -> None:
    """Per pixel, of those scenes of the window that have data there."""
    scenes = [
        WorldScene(f"s{d}", f"2023-06-{d}T08:00:00Z", d, holes=d < 20, collection=DYNAMIC_WORLD)
        for d in (11, 17, 23)
    ]
    standin.scenes = [*scenes, replace(scenes[0], index="late", time="2023-07-01T00:00:00Z")]
    sample = source.fetch(query(DYNAMIC_WORLD, "trees", "bare"))
    seen = np.stack([scene.has_data() for scene in scenes])
    for pixels, band in zip(sample.pixels, ("trees", "bare"), strict=True):
        values = np.stack([scene.band(band) for scene in scenes])
        expected = np.where(seen, values, 0).sum(axis=0) / seen.sum(axis=0)
        np.testing.assert_allclose(pixels, expected, rtol=1e-6)


def monthly(collection: str, *months: str, **fields: Any) -> list[WorldScene]:
    """Images of months such as 2023-06, dated on the first day."""
    return [
        WorldScene(m, f"{m}-01T00:00:00Z", int(m[-2:]), collection=collection, **fields)
        for m in months
    ]


def test_a_part_of_a_window_stands_for_the_month_it_begins_in(
    standin: Standin, source: EarthEngineSource
) -> None:
    """Images dated before the window count, later ones do not; a missing month is a gap."""
    standin.scenes = monthly(ERA5, "2022-12", "2023-01", "2023-02", "2023-03", "2023-05")
    request = query(ERA5, "temperature_2m", start="2023-01-20", end="2023-05-20", frames=4)
    sample = source.fetch(request)
    january, february, march = standin.scenes[1:4]
    assert sample.parts == (0, 1, 2)
    assert [time.month for time in sample.times] == [1, 2, 3]
    for pixels, scene in zip(sample.pixels, (january, february, march), strict=True):
        np.testing.assert_array_equal(pixels[0], scene.band("temperature_2m"))


def test_a_longer_part_is_the_mean_of_its_months(
    standin: Standin, source: EarthEngineSource
) -> None:
    """A quarter in one part: three months, each once."""
    standin.scenes = monthly(ERA5, "2023-03", "2023-04", "2023-05", "2023-06", "2023-07")
    request = query(ERA5, "temperature_2m", start="2023-04-01", end="2023-07-01")
    expected = np.mean([scene.band("temperature_2m") for scene in standin.scenes[1:4]], axis=0)
    np.testing.assert_allclose(source.fetch(request).pixels[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("start", "end", "count", "expected"),
    [
        ("2022-01-01", "2022-04-01", 3, ["01-02", "01-02", "03-04"]),
        ("2022-11-15", "2023-01-14", 2, ["11-12", "12-01"]),
        ("2022-12-31", "2023-01-01", 1, ["12-01"]),
        ("2022-10-01", "2023-10-01", 2, ["10-04", "04-10"]),
        ("9999-12-01", "9999-12-31", 1, ["12-12"]),
    ],
)
def test_months_of_parts(start: str, end: str, count: int, expected: list[str]) -> None:
    """Begin (inside) and end (outside): as many as the part is long, one at least."""
    result = time_bins.bin_months(query(ERA5, "t", start=start, end=end, frames=count))
    assert [f"{begin:%m}-{end:%m}" for begin, end in result] == expected
    assert all(begin.day == 1 for begin, _ in result)


def test_no_lights_at_sea(standin: Standin, source: EarthEngineSource) -> None:
    """Where a product has nothing because there is nothing, that is 0 and not a gap."""
    (june,) = standin.scenes = monthly(VIIRS, "2023-06", holes=True)
    sample = source.fetch(query(VIIRS, "avg_rad", fill_value=-9))
    np.testing.assert_array_equal(
        sample.pixels[0], np.where(june.has_data(), june.band("avg_rad"), 0)
    )
    assert sample.valid is not None
    assert sample.valid.all()


def test_bands_that_are_scenes(standin: Standin, source: EarthEngineSource) -> None:
    """The last of the collection is on top, whatever its date; what no scene is of is 0."""

    def crops(index: str, product: str, seed: int, year: int, **fields: Any) -> WorldScene:
        named = {"product": product}
        time = f"{year}-01-01T00:00:00Z"
        return WorldScene(index, time, seed, collection=CEREAL, properties=named, **fields)

    below = crops("1_main", "maize", 3, 2021)
    above = crops("1_second", "maize", 4, 2020, holes=True)
    other = crops("1_annual", "temporarycrops", 5, 2020, holes=True)
    unasked = crops("9_spring", "springcereals", 6, 2021)
    standin.scenes = [below, above, other, unasked]
    # The window does not matter.
    sample = source.fetch(query(CEREAL, "irrigation", "maize", "temporarycrops"))
    lower, upper, alone = (scene.band("classification") for scene in (below, above, other))
    np.testing.assert_array_equal(
        sample.pixels,
        [
            np.zeros(GRID.shape),
            np.where(above.has_data(), upper, lower),
            np.where(other.has_data(), alone, 0),
        ],
    )
    assert sample.provenance is not None
    assert len(sample.provenance.scenes) == 3
    assert sample.provenance.notice is not None
    assert "WorldCereal" in sample.provenance.notice
    with pytest.raises(ModelError, match="has no band 'classification'"):
        source.fetch(query(CEREAL, "classification"))
