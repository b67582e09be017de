"""Galileo with all that it reads beside satellite images, from Earth Engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import ModelError, SpecError
from geobento.schemas.requests import GeoEmbeddingRequest
from models.galileo.card import CARD
from models.galileo.model import Galileo
from pipeline.local_engine import LocalEngine
from pipeline.planning.geo import GeoPlan
from tests.imagery.ee_server import earth_engine
from tests.imagery.world import WorldScene
from tests.models import small

REGION = {"type": "PointBuffer", "lon": 34.0578, "lat": -3.3925, "buffer_m": 80}
FURTHER = ["srtm", "dynamic_world", "worldcereal", "era5", "terraclimate", "viirs", "landscan"]


def scene(name: str, index: str, date: str, seed: int, **fields: Any) -> WorldScene:
    """An image of a modality's collection."""
    collection = CARD.modalities[name].sensor.collection
    return WorldScene(index, f"{date}T00:00:00Z", seed, collection=collection, **fields)


WORLD = [
    *(scene("s2", f"s{month}", f"2023-{month:02}-10", month) for month in (4, 5, 6)),
    scene("srtm", "", "2000-02-11", 1),
    *(
        scene("dynamic_world", date, date, seed)
        for seed, date in enumerate(("2023-03-01", "2023-03-02", "2023-06-20", "2023-08-02"))
    ),
    scene("worldcereal", "maize", "2021-01-01", 7, properties={"product": "maize"}),
    *(
        scene(name, f"2023-{month:02}", f"2023-{month:02}-01", month)
        for name in ("era5", "terraclimate", "viirs")
        for month in (3, 4, 5, 6, 7)
    ),
    *(scene("landscan", str(year), f"{year}-01-01", year % 10) for year in (2022, 2023, 2024)),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    """A small Galileo over the stand-in."""
    with earth_engine(WORLD) as ee:
        settings: dict[str, Any] = {"ee_project": "some-project", "ee_url": ee.url, "cache": False}
        yield LocalEngine(Settings(models=(small.stored(Galileo).tag,), **settings))


def request(**fields: Any) -> GeoEmbeddingRequest:
    """The region, in April and May, in two parts."""
    return GeoEmbeddingRequest.model_validate(
        {
            "model": "galileo",
            "spatial": REGION,
            "temporal": {"mode": "range", "start": "2023-04-02", "end": "2023-06-01"},
            "auxiliary_modalities": FURTHER,
        }
        | fields
    )


def ids(answer: Embedding, name: str) -> list[str]:
    """What the images of a further input are called."""
    return [scene.id.rsplit("/")[-1] for scene in answer.meta.auxiliary[name].scenes or ()]


def test_all_further_inputs_together(engine: LocalEngine) -> None:
    """Each has its own collection and window; maps are one image, the rest follows the frames."""
    (answer,) = engine.geo_embedding(request())
    assert isinstance(answer, Embedding)
    further = answer.meta.auxiliary
    assert list(further) == FURTHER
    assert answer.meta.frames is not None
    assert answer.meta.frames.requested == answer.meta.frames.distinct == 2
    for name in FURTHER:
        sensor, frames = further[name].sensor, further[name].frames
        assert sensor is not None
        assert sensor.collection == CARD.modalities[name].sensor.collection
        assert (frames is not None) == (CARD.modalities[name].series is not None)
    # 31 days before 2 April begin on 2 March; those after 1 June end on 2 July.
    assert ids(answer, "dynamic_world") == ["2023-03-02", "2023-06-20"]
    assert ids(answer, "era5") == ids(answer, "viirs") == ["2023-04", "2023-05"]
    assert ids(answer, "landscan") == ["2023"]
    (alone,) = engine.geo_embedding(request(auxiliary_modalities=[]))
    assert isinstance(alone, Embedding)
    assert np.abs(answer.data - alone.data).max() > 1e-3


def test_network_inputs(engine: LocalEngine) -> None:
    """Means over the region of climate and people, scaled; maps pixel by pixel."""
    core = engine._engine
    _, _, (plan,) = core.plan_regions(request())
    assert isinstance(plan, GeoPlan)
    inputs = core.prepare_regions(request()).items[0].inputs
    left, _, _, top = plan.query.grid.bounds

    def seen(name: str, index: str, band: str) -> Any:
        """A band of an image at the region."""
        (image,) = (s for s in WORLD if (s.collection, s.index) == (collection(name), index))
        row = round((image.grid.bounds[3] - top) / 10)
        column = round((left - image.grid.bounds[0]) / 10)
        return image.band(band)[row : row + 16, column : column + 16]

    def collection(name: str) -> str:
        return CARD.modalities[name].sensor.collection

    def scaled(name: str, values: Any) -> Any:
        spec = CARD.modalities[name].normalization
        return (values - np.asarray(spec.offset)) * np.asarray(spec.scale)

    for name in ("era5", "terraclimate", "viirs"):
        bands = CARD.modalities[name].sensor.bands
        expected = [
            [seen(name, month, band).mean() for band in bands] for month in ("2023-04", "2023-05")
        ]
        np.testing.assert_allclose(inputs[name], scaled(name, np.asarray(expected)), rtol=1e-5)
    people = seen("landscan", "2023", "b1").mean()
    np.testing.assert_allclose(inputs["landscan"], scaled("landscan", people), rtol=1e-5)
    trees = (
        seen("dynamic_world", "2023-03-02", "trees") + seen("dynamic_world", "2023-06-20", "trees")
    ) / 2
    np.testing.assert_allclose(inputs["dynamic_world"][1], trees, rtol=1e-5)
    np.testing.assert_allclose(inputs["dynamic_world_static"][1], trees.mean(), rtol=1e-5)
    maize = seen("worldcereal", "maize", "classification")
    np.testing.assert_allclose(inputs["worldcereal"][1], maize / 100, rtol=1e-5)
    assert not inputs["worldcereal"][[0, 2, 3, 4]].any()
    heights = seen("srtm", "", "elevation")
    expected = scaled("srtm", np.stack([heights, heights], axis=-1))[..., 0]
    np.testing.assert_allclose(inputs["srtm"][0], expected, rtol=1e-5)


def test_years_that_a_window_lies_in(engine: LocalEngine) -> None:
    """People are the mean of the years of a window across New Year; its end is outside."""
    for end, years in (("2024-01-01", ["2023"]), ("2024-01-02", ["2023", "2024"])):
        window = {"mode": "range", "start": "2023-05-01", "end": end}
        (answer,) = engine.geo_embedding(
            request(temporal=window, auxiliary_modalities=["landscan"])
        )
        assert isinstance(answer, Embedding)
        assert ids(answer, "landscan") == years


def test_windows_at_the_end_of_the_calendar(engine: LocalEngine) -> None:
    """They are refused where the window of a further input is longer."""
    for name, start, end in (
        ("dynamic_world", "0001-01-02", "0001-03-01"),
        ("landscan", "9999-01-01", "9999-12-31"),
    ):
        window = {"mode": "range", "start": start, "end": end}
        with pytest.raises(SpecError, match="calendar") as caught:
            engine.geo_embedding(request(temporal=window, auxiliary_modalities=[name]))
        assert caught.value.field == "temporal"


def test_a_source_that_lacks_them_says_who_has_them(demo_archive: Path) -> None:
    """STAC catalogs have other products, which are not taken instead."""
    demo = LocalEngine(Settings(models=(small.stored(Galileo).tag,)))
    region = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 80}
    bands = CARD.modalities["s2"].sensor.bands
    sensor = {"collection": "COPERNICUS/S2_SR_HARMONIZED", "bands": bands}
    for name in FURTHER:
        with pytest.raises(ModelError, match=r"Earth Engine has it \(backend 'gee'\)"):
            demo.geo_embedding(request(auxiliary_modalities=[name], spatial=region, sensor=sensor))
