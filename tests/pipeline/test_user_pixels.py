"""User-supplied pixels through the engine give the vectors of fetched ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from pyproj import CRS

pytest.importorskip("transformers")

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, SpecError
from geobento.schemas.requests import GeoEmbeddingRequest, PixelEmbeddingRequest
from geobento.schemas.sample import Sample
from inference.importing import import_model
from models.base import Model
from models.galileo.card import S2_BANDS
from models.galileo.model import Galileo
from models.registry import get_model_class
from pipeline.fetching.fetcher import ImageryFetcher
from pipeline.local_engine import LocalEngine
from pipeline.planning.geo import GeoPlan, plan_geo
from pipeline.planning.limits import Limits
from tests import geotiffs
from tests.geotiffs import geotiff
from tests.models import small
from tests.pipeline.planning.user_pixels_files import (
    JUNE,
    MOSAIKS,
    NUMBERS,
    RANDOM,
    REGION,
    S2,
    SERIES,
    UTM,
    WINDOW,
    array,
)

L2A = {"collection": "COPERNICUS/S2_SR_HARMONIZED", "bands": list(S2_BANDS)}


def fetched(cls: type[Model], **fields: Any) -> Sample:
    """The sample of a region of the demo archive."""
    request = GeoEmbeddingRequest.model_validate(
        {"model": cls.card.id, "spatial": REGION, "temporal": WINDOW} | fields
    )
    served = tuple(cls.card.modalities)
    _, plans = plan_geo(cls.card, request, served_modalities=served, limits=Limits(2**20))
    (geo_plan,) = plans
    assert isinstance(geo_plan, GeoPlan), geo_plan
    (sample,) = ImageryFetcher.from_settings(Settings()).fetch_all(geo_plan.fetch_requests)
    assert isinstance(sample, Sample), sample
    return sample


def written(sample: Sample, units: str, order: Sequence[int]) -> bytes:
    """A GeoTIFF of a sample, its bands in another order; NaN where it has no data."""
    assert sample.grid is not None
    assert sample.valid is not None
    return geotiff(
        np.where(sample.valid, sample.pixels, np.float32(np.nan))[list(order)],
        bands=[sample.bands[position] for position in order],
        units=units,
        crs=sample.grid.crs,
        transform=sample.grid.transform,
    )


def embed(engine: LocalEngine, model: str, pixels: bytes, **fields: Any) -> Embedding:
    """The answer for a file."""
    request = {"model": model, "pixels": pixels, **fields}
    (answer,) = engine.pixel_embedding(PixelEmbeddingRequest.model_validate(request))
    assert isinstance(answer, Embedding), answer
    return answer


@lru_cache
def opened(cls: type[Model], variant: str | None = None) -> LocalEngine:
    """The engine with a small model of a family alone; one without weights is small as it is."""
    if cls.card is MOSAIKS:
        return LocalEngine(Settings(models=(import_model(MOSAIKS.id).tag,)))
    return LocalEngine(Settings(models=(small.stored(cls, variant=variant).tag,)))


GRID: dict[str, Any] = {"output": {"mode": "grid"}}

ONE_IMAGE: dict[str, Any] = {"model_config": {"n_frames": 1}}

TILES: dict[str, Any] = {"input_prep": {"mode": "tile", "tile_size": 32}}


@pytest.mark.parametrize("form", [{}, GRID, TILES, GRID | TILES], ids=str)
@pytest.mark.parametrize(
    ("model", "variant", "imagery", "own"),
    [
        ("mosaiks", None, {}, {}),
        ("dofa", None, {}, {}),
        ("dofa", None, {"modality": "s1"}, {"modality": "s1"}),
        ("thor", None, {}, {}),
        ("satmaepp", "s2_10b", {"modality": "s2_10b", "sensor": L2A}, {"modality": "s2_10b"}),
        ("galileo", None, {"sensor": L2A}, {}),
        ("anysat", None, ONE_IMAGE, ONE_IMAGE),
    ],
)
@pytest.mark.usefixtures("demo_archive")
def test_the_same_pixels_give_the_same_vectors(
    model: str,
    variant: str | None,
    imagery: dict[str, Any],
    own: dict[str, Any],
    form: dict[str, Any],
) -> None:
    """A file written from a fetched region answers as the region does, whole and in tiles."""
    cls = get_model_class(model)
    engine = opened(cls, variant)
    request = {"model": model, "spatial": REGION, "temporal": WINDOW} | imagery | form
    (region,) = engine.geo_embedding(GeoEmbeddingRequest.model_validate(request))
    assert isinstance(region, Embedding), region
    sample = fetched(cls, **imagery)
    assert sample.valid is not None
    assert sample.modality == "s1" or 0.8 < sample.valid.mean() < 0.95
    units = "linear power" if sample.modality == "s1" else "digital numbers"
    pixels = written(sample, units, RANDOM.permutation(len(sample.bands)).tolist())
    answer = embed(engine, model, pixels, times=sample.times, **own, **form)
    np.testing.assert_allclose(answer.data, region.data, atol=1e-6)
    reported, fetched_meta = answer.meta, region.meta
    assert (reported.backend, reported.source) == ("user", "GeoTIFF")
    assert reported.notice is not None
    assert (reported.sensor, reported.temporal, reported.offset_applied) == (None, None, None)
    assert reported.scenes is not None
    assert fetched_meta.scenes is not None
    assert [scene.time for scene in reported.scenes] == [
        scene.time for scene in fetched_meta.scenes
    ]
    same = {"grid_hw", "crs", "transform", "footprint", "pixels", "valid_fraction", "image_size"}
    same |= {"input_prep", "tiles", "pooling", "modality", "preprocessing", "cls_removed", "dim"}
    assert reported.model_dump(include=same) == fetched_meta.model_dump(include=same)
    assert reported.grid == fetched_meta.grid
    assert set(reported.timing_ms) == {"prepare", "encode"}


METADATA: dict[str, Any] = {"bands": S2, "units": "digital numbers"}


def test_an_array_lies_nowhere(mosaiks: LocalEngine) -> None:
    """Its vectors are those of the same pixels with a region; its grid has none."""
    data = array(NUMBERS)
    bare, placed = embed(mosaiks, "mosaiks", data, **METADATA), embed(
        mosaiks, "mosaiks", data, **METADATA, **UTM
    )  # fmt: skip
    np.testing.assert_array_equal(bare.data, placed.data)
    assert placed.meta.crs == geotiffs.CRS
    grid = embed(mosaiks, "mosaiks", data, **METADATA, **GRID)
    assert grid.data.ndim == 3
    assert grid.meta.grid_hw == grid.data.shape[1:]
    assert grid.meta.image_size == (24, 30)
    for name in ("grid", "crs", "transform", "footprint", "pixels"):
        assert getattr(grid.meta, name) is None
    with pytest.raises(SpecError, match="came without crs and transform"):
        grid.to_xarray()


def test_tiles_of_an_array(mosaiks: LocalEngine) -> None:
    """Pixels that lie nowhere are cut like others; tiles and region make no difference."""
    big = RANDOM.integers(200, 4000, (12, 50, 70)).astype(np.uint16)
    form = {"input_prep": {"mode": "tile", "tile_size": 24}} | GRID
    bare = embed(mosaiks, "mosaiks", array(big), **METADATA, **form)
    placed = embed(mosaiks, "mosaiks", array(big), **METADATA, **form, **UTM)
    np.testing.assert_array_equal(bare.data, placed.data)
    assert bare.meta.tiles is not None
    assert bare.meta.tiles == placed.meta.tiles
    assert bare.meta.grid is None
    assert placed.meta.grid is not None


def test_a_reference_system_without_a_name(mosaiks: LocalEngine) -> None:
    """It comes back as its definition."""
    crs = "+proj=laea +lat_0=-3 +lon_0=34 +datum=WGS84 +units=m"
    file = geotiff(
        NUMBERS, bands=S2, units="digital numbers", crs=crs, transform=(9, 0, 0, 0, -9, 0)
    )
    answer = embed(mosaiks, "mosaiks", file, **GRID)
    assert answer.meta.crs is not None
    operation = CRS(answer.meta.crs).coordinate_operation
    assert operation is not None
    assert [float(one.value) for one in operation.params][:2] == [-3, 34]
    assert answer.to_xarray().shape == answer.data.shape


def test_a_region_beyond_the_edge_of_the_world(mosaiks: LocalEngine) -> None:
    """A view of the whole Earth has corners in space: no footprint, but a vector."""
    crs = "+proj=geos +h=35785831 +lon_0=0 +datum=WGS84 +units=m"
    step = 12_000_000 / 30
    transform = (step, 0, -6e6, 0, -step, 6e6)
    answer = embed(mosaiks, "mosaiks", array(NUMBERS), **METADATA, crs=crs, transform=transform)
    assert answer.meta.footprint is None
    assert answer.meta.pixels is not None


@pytest.fixture(scope="module")
def mosaiks(mosaiks_stored: Any) -> LocalEngine:
    """The engine with `mosaiks` alone."""
    return LocalEngine(Settings(models=(mosaiks_stored.tag,)))


@pytest.fixture(scope="module")
def galileo() -> LocalEngine:
    """The engine with a small Galileo alone."""
    return opened(Galileo)


def test_a_series_goes_to_the_model_with_its_times(galileo: LocalEngine) -> None:
    """Frames and months change the vector; a series of one is an image."""
    series = np.stack([NUMBERS, NUMBERS[::-1]])
    metadata = METADATA | UTM
    both = embed(galileo, "galileo", array(series), **metadata, times=["2023-01-02", "2023-07-02"])
    later = embed(galileo, "galileo", array(series), **metadata, times=["2023-03-02", "2023-09-02"])
    assert not np.allclose(both.data, later.data, atol=1e-4)
    assert both.meta.scenes is not None
    assert [scene.time[:10] for scene in both.meta.scenes] == ["2023-01-02", "2023-07-02"]
    one = embed(galileo, "galileo", array(NUMBERS), **metadata, times=[JUNE])
    same = embed(galileo, "galileo", array(NUMBERS[None]), **metadata, times=[JUNE])
    np.testing.assert_array_equal(one.data, same.data)
    assert not np.allclose(one.data, both.data, atol=1e-4)


@pytest.mark.parametrize("form", [{}, GRID, GRID | TILES], ids=str)
@pytest.mark.usefixtures("demo_archive")
def test_a_fetched_series_gives_the_same_vectors(
    galileo: LocalEngine, form: dict[str, Any]
) -> None:
    """All frames, their validity and their times, written to a file."""
    fields: dict[str, Any] = {
        "temporal": {"mode": "range", "start": "2023-04-01", "end": "2023-10-01"},
        "model_config": {"n_frames": 3},
    }
    request = {"model": "galileo", "spatial": REGION} | fields | form
    (region,) = galileo.geo_embedding(GeoEmbeddingRequest.model_validate(request))
    assert isinstance(region, Embedding), region
    sample = fetched(Galileo, **fields)
    assert sample.pixels.ndim == 4
    assert sample.valid is not None
    assert sample.grid is not None
    pixels = np.where(sample.valid[:, None], sample.pixels, np.float32(np.nan))
    answer = embed(
        galileo,
        "galileo",
        array(pixels),
        bands=sample.bands,
        units="digital numbers",
        crs=sample.grid.crs,
        transform=sample.grid.transform,
        times=sample.times,
        **form,
    )
    np.testing.assert_allclose(answer.data, region.data, atol=1e-6)
    assert answer.meta.grid == region.meta.grid
    assert answer.meta.frames is not None
    assert region.meta.frames is not None
    assert answer.meta.frames.times == region.meta.frames.times
    assert answer.meta.frames.distinct == len(sample.times) > 1
    assert answer.meta.valid_fraction == region.meta.valid_fraction


def test_a_series_in_tiles(galileo: LocalEngine) -> None:
    """Every tile has all frames."""
    series = np.stack([NUMBERS, NUMBERS[::-1]])[..., :28]
    form = {"input_prep": {"mode": "tile", "tile_size": 16}} | GRID
    times = ["2023-01-02", "2023-07-02"]
    grid = embed(galileo, "galileo", array(series), **METADATA, **UTM, **form, times=times)
    assert grid.meta.tiles is not None
    assert grid.data.shape[1:] == (6, 7)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"device": "cuda"}, "device"),
        ({"model_config": {"patch_size": 9}}, "model_config.patch_size"),
        ({"bands": S2[1:]}, "bands"),
        ({"times": [JUNE] * 3}, "times"),
        ({"pixels": b"no file"}, "pixels"),
        ({"model": "nope"}, "model"),
    ],
)
def test_the_engine_refuses(galileo: LocalEngine, fields: dict[str, Any], field: str) -> None:
    """Before the forward, with the field of this request at fault."""
    request = {"model": "galileo", "pixels": array(SERIES), "times": [JUNE] * 2, **METADATA, **UTM}
    with pytest.raises(GeoBentoError) as caught:
        embed(galileo, **(request | fields))
    assert caught.value.field == field


@pytest.mark.usefixtures("demo_archive")
def test_an_option_that_needs_the_region(galileo: LocalEngine) -> None:
    """Where the pixels lie goes to the model if it asks for it."""
    here = embed(galileo, "galileo", array(NUMBERS), **METADATA, **UTM, times=[JUNE])
    reported = embed(
        galileo, "galileo", array(NUMBERS), **METADATA, **UTM, times=[JUNE],
        model_config={"location": True},
    )  # fmt: skip
    assert not np.allclose(here.data, reported.data, atol=1e-5)
