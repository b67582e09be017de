"""Pixels that a caller brings, from what is said of them to vectors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import CRS

pytest.importorskip("transformers")

from geobento.config.settings import Settings
from geobento.schemas.cards import ModelCard
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, ModelError, SpecError
from geobento.schemas.requests import GeoEmbeddingRequest, PixelEmbeddingRequest
from geobento.schemas.sample import Sample
from inference.importing import import_model
from models.base import Model
from models.galileo.card import S2_BANDS
from models.galileo.model import Galileo
from models.mosaiks.model import Mosaiks
from models.registry import get_model_class
from pipeline.fetching.fetcher import ImageryFetcher
from pipeline.inputs.raster_uploads import RasterUpload
from pipeline.local_engine import LocalEngine
from pipeline.planning.geo import GeoPlan, plan_geo
from pipeline.planning.limits import Limits
from pipeline.planning.user_pixels import UserPixelsPlan, plan_user_pixels
from tests import geotiffs
from tests.geotiffs import geotiff
from tests.models import small

MOSAIKS = Mosaiks.card

S2 = MOSAIKS.modalities["s2"].sensor.bands
ANYSAT, DOFA, THOR = (get_model_class(name).card for name in ("anysat", "dofa", "thor"))
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.integers(200, 4000, (12, 24, 30)).astype(np.uint16)
POWER = RANDOM.gamma(2, 0.02, (2, 24, 30)).astype(np.float32)
FILE = RasterUpload("GeoTIFF", NUMBERS, bands=S2, units="digital numbers")
JUNE = "2023-06-11"
SERIES = np.stack([NUMBERS, NUMBERS + 1])
UTM = {"crs": geotiffs.CRS, "transform": geotiffs.TRANSFORM}


def plan(file: RasterUpload = FILE, card: ModelCard = MOSAIKS, **fields: Any) -> UserPixelsPlan:
    """What becomes of a file."""
    request = PixelEmbeddingRequest.model_validate({"model": card.id, "pixels": b"", **fields})
    served = tuple(card.modalities)
    return plan_user_pixels(card, request, file, served_modalities=served, limits=Limits(100_000))


def test_what_a_file_says_is_enough() -> None:
    """Pixels, names, units, region and validity become a sample as a source gives it."""
    seen = RANDOM.integers(0, 2, (24, 30)).astype(bool)
    result = plan(replace(FILE, mask=seen, **UTM)).sample  # type: ignore[arg-type]
    np.testing.assert_array_equal(result.pixels, np.where(seen, NUMBERS, 0))
    np.testing.assert_array_equal(result.valid, seen)
    assert result.pixels.dtype == np.float32
    assert (result.bands, result.modality, result.times) == (S2, "s2", ())
    assert result.grid is not None
    assert (result.grid.crs, result.grid.transform) == (geotiffs.CRS, geotiffs.TRANSFORM)
    assert result.grid.shape == (24, 30)
    assert result.provenance is not None
    assert (result.provenance.backend, result.provenance.source) == ("user", "GeoTIFF")


def test_nothing_is_made_up() -> None:
    """Without a region and times there is none in the sample."""
    result = plan().sample
    assert result.grid is None
    assert result.times == ()
    assert result.provenance is not None
    assert result.provenance.scenes == ()


def test_the_request_goes_before_the_file() -> None:
    """Names, units, region and no-data of the request count."""
    file = replace(FILE, nodata=1, **UTM)  # type: ignore[arg-type]
    other: dict[str, Any] = {"crs": "EPSG:32632", "transform": (20, 0, 0, 0, -20, 0)}
    first = int(NUMBERS[0, 0, 0])
    result = plan(
        replace(file, pixels=NUMBERS / 10_000), bands=S2[::-1], units="reflectance", **other,
        nodata=first / 10_000,
    ).sample  # fmt: skip
    assert result.grid is not None
    assert (result.grid.crs, result.grid.transform) == ("EPSG:32632", (20, 0, 0, 0, -20, 0))
    assert result.valid is not None
    np.testing.assert_array_equal(result.valid, np.not_equal(NUMBERS, first).all(axis=0))
    has = NUMBERS[::-1] != first
    np.testing.assert_allclose(result.pixels[has], NUMBERS[::-1][has], rtol=1e-6)


def test_bands_are_found_by_name() -> None:
    """In any order, among others."""
    order = RANDOM.permutation(14)
    names = [(*S2, "SCL", "B10")[at] for at in order]
    pixels = np.concatenate([NUMBERS, np.zeros((2, 24, 30), np.uint16)])[order]
    np.testing.assert_array_equal(plan(replace(FILE, pixels=pixels), bands=names).sample.pixels,
                                  NUMBERS)  # fmt: skip


@pytest.mark.parametrize(
    ("file", "units"),
    [
        (replace(FILE, units="Digital Numbers"), None),
        (replace(FILE, units=None), "digital numbers"),
        (replace(FILE, units=None), MOSAIKS.modalities["s2"].units),
        (replace(FILE, units=None), "digital numbers, surface reflectance x 10000"),
        (replace(FILE, units=None, pixels=NUMBERS / 10_000), "reflectance"),
        (replace(FILE, units="reflectance", pixels=NUMBERS / 10_000), None),
        (replace(FILE, units=None, scaling=((1e-4, 0.0),) * 12), None),
        (replace(FILE, units="reflectance", scaling=((1e-4, 0.0),) * 12), None),
    ],
)
def test_units(file: RasterUpload, units: str | None) -> None:
    """All ways to say what the numbers mean lead to the same numbers."""
    np.testing.assert_allclose(plan(file, units=units).sample.pixels, NUMBERS, rtol=1e-6)


def test_no_data() -> None:
    """NaN and the stated value; a pixel counts where all bands have data."""
    pixels = NUMBERS.astype(np.float32)
    pixels[0, 0] = np.nan
    pixels[1, 1] = np.float32(0.1)
    result = plan(replace(FILE, pixels=pixels, nodata=0.1)).sample
    assert result.valid is not None
    assert not result.valid[:2].any()
    assert result.valid[2:].all()
    assert (result.pixels[0, 0] == 0).all()


def test_radar_has_power_where_it_has_data() -> None:
    """Zeros beyond the edge of a scene are none."""
    power = POWER.copy()
    power[0, :3] = 0
    file = RasterUpload("NumPy array", power, bands=("VV", "VH"), units="linear power")
    result = plan(file, THOR, modality="sentinel-1", **UTM).sample
    assert result.modality == "s1"
    assert result.valid is not None
    assert (result.valid.sum(axis=1) == [0] * 3 + [30] * 21).all()


def test_models_that_read_any_bands() -> None:
    """The default ones if they are there; else those that are, and the answer says so."""
    whole = plan(replace(FILE, **UTM), THOR)  # type: ignore[arg-type]
    assert whole.sample.bands == THOR.modalities["s2"].sensor.bands
    assert whole.warnings == ()
    some = plan(replace(FILE, pixels=NUMBERS[:3], **UTM), THOR, bands=("B8", "SCL", "B4"))  # type: ignore[arg-type]
    assert set(some.sample.bands) == {"B4", "B8"}
    np.testing.assert_array_equal(some.sample.pixels[some.sample.bands.index("B4")], NUMBERS[2])
    (warning,) = some.warnings
    assert "B4" in warning


def test_aerial_images() -> None:
    """Bands are put in order; their brightness is no reflectance, nor brighter than 8 bits."""
    pixels = RANDOM.integers(0, 256, (4, 250, 250)).astype(np.uint8)
    said = {"crs": geotiffs.CRS, "transform": (0.2, 0, 0, 0, -0.2, 0), "times": [JUNE]}
    file = RasterUpload("NumPy array", pixels, bands=("N", "R", "G", "B"), units="8-bit brightness")
    result = plan(file, ANYSAT, modality="aerial", **said).sample
    assert result.bands == ("R", "G", "B", "N")
    np.testing.assert_array_equal(result.pixels, pixels[[1, 2, 3, 0]])
    with pytest.raises(SpecError, match=r"accepted: '8-bit brightness'$"):
        plan(replace(file, units="reflectance"), ANYSAT, modality="aerial", **said)
    with pytest.raises(SpecError, match="not in these units"):
        plan(replace(file, pixels=16.0 * pixels), ANYSAT, modality="aerial", **said)


def test_bands_that_the_request_describes() -> None:
    """All bands are read, in the order of the file, as they are stored."""
    scores = RANDOM.normal(size=(2, 24, 30)).astype(np.float32)
    options = {"wavelengths_um": [0.4, 10], "mean": [0, 0], "std": [1, 1]}
    result = plan(
        RasterUpload("NumPy array", scores, bands=("x", "B2")), DOFA, model_config=options
    )
    assert result.sample.bands == ("x", "B2")
    np.testing.assert_array_equal(result.sample.pixels, scores)


def test_images_over_time() -> None:
    """One time per frame; of one image, those of its scenes."""
    file = replace(FILE, pixels=SERIES, **UTM)  # type: ignore[arg-type]
    times = ["2023-05-02", "2023-06-11T10:30:00Z"]
    result = plan(file, Galileo.card, times=times).sample
    assert result.pixels.shape == (2, 10, 24, 30)
    assert result.valid is not None
    assert result.valid.shape == (2, 24, 30)
    assert result.times == (
        datetime(2023, 5, 2, tzinfo=UTC),
        datetime(2023, 6, 11, 10, 30, tzinfo=UTC),
    )
    assert plan(replace(file, pixels=SERIES[:1]), Galileo.card, times=times).sample.pixels.ndim == 3


BAD: dict[str, tuple[type[GeoBentoError], str, str, RasterUpload, ModelCard, dict[str, Any]]] = {
    "no names": (SpecError, "bands", "name the 12 bands", replace(FILE, bands=None), MOSAIKS, {}),
    "few names": (SpecError, "bands", "12 bands but 2 names", FILE, MOSAIKS, {"bands": ["a", "b"]}),
    "a name twice": (
        SpecError, "bands", "'B2' is named more than once", FILE, MOSAIKS,
        {"bands": ["B2"] * 12},
    ),
    "missing bands": (
        ModelError, "bands", "missing: B8A, B12", replace(FILE, bands=(*"ab", *S2[2:])), MOSAIKS,
        {"bands": [{"B8A": "B08A", "B12": "nir"}.get(name, name) for name in S2]},
    ),
    "none of any bands": (
        ModelError, "bands", "missing: B2, B3", FILE, THOR, UTM | {"bands": list("abcdefghijkl")},
    ),
    "no units": (
        SpecError, "units", "accepted: 'digital numbers', 'reflectance'",
        replace(FILE, units=None), MOSAIKS, {},
    ),
    "other units": (
        SpecError, "units", "'DN / 255' are not read; accepted: 'digital numbers'", FILE, MOSAIKS,
        {"units": "DN / 255"},
    ),
    "reflectance of radar": (
        SpecError, "units", "accepted: 'linear power'",
        RasterUpload("a", POWER, bands=("VV", "VH")), THOR,
        UTM | {"modality": "s1", "units": "reflectance"},
    ),
    "another scale": (
        SpecError, "pixels", "apply them", replace(FILE, scaling=((2e-4, 0.0),) * 12), MOSAIKS, {},
    ),
    "another offset": (
        SpecError, "pixels", "apply them", replace(FILE, scaling=((1e-4, -0.1),) * 12), MOSAIKS, {},
    ),
    "reflectance as numbers": (
        SpecError, "units", "scaled already", replace(FILE, pixels=NUMBERS / 10_000), MOSAIKS, {},
    ),
    "numbers as reflectance": (
        SpecError, "units", "lie outside of -1000 to 20000", FILE, MOSAIKS,
        {"units": "reflectance"},
    ),
    "normalised reflectance": (
        SpecError, "units", "normalised already",
        replace(FILE, pixels=RANDOM.normal(size=(12, 24, 30))), MOSAIKS, {},
    ),
    "normalised and called reflectance": (
        SpecError, "units", "normalised already",
        replace(FILE, pixels=RANDOM.normal(size=(12, 24, 30))), MOSAIKS, {"units": "reflectance"},
    ),
    "decibels as power": (
        SpecError, "units", "lie outside of 0 to 100",
        RasterUpload("a", 10 * np.log10(POWER), bands=("VV", "VH"), units="linear power"), THOR,
        UTM | {"modality": "s1"},
    ),
    "infinite": (
        SpecError, "pixels", "infinite",
        replace(FILE, pixels=np.where(NUMBERS.max() == NUMBERS, np.inf, NUMBERS)), MOSAIKS, {},
    ),
    "no data": (
        SpecError, "pixels", "no pixel has data in all bands",
        replace(FILE, pixels=np.full((12, 24, 30), np.nan)), MOSAIKS, {},
    ),
    "no power": (
        SpecError, "pixels", "no pixel has data in all bands",
        RasterUpload("a", POWER * 0, bands=("VV", "VH"), units="linear power"), THOR,
        UTM | {"modality": "s1"},
    ),
    "nothing but no data": (
        SpecError, "pixels", "no pixel has data", replace(FILE, pixels=NUMBERS * 0 + 7), MOSAIKS,
        {"nodata": 7},
    ),
    "too few pixels": (
        ModelError, "pixels", "2 x 30 pixels, mosaiks needs at least 3 x 3",
        replace(FILE, pixels=NUMBERS[:, :2]), MOSAIKS, {},
    ),
    "a crs alone": (SpecError, "transform", "give both", FILE, MOSAIKS, {"crs": "EPSG:4326"}),
    "a transform alone": (
        SpecError, "crs", "give both", FILE, MOSAIKS, {"transform": geotiffs.TRANSFORM},
    ),
    "an unknown crs": (
        SpecError, "crs", "'here' is not known", FILE, MOSAIKS, UTM | {"crs": "here"},
    ),
    "a crs of another world": (
        SpecError, "crs", "no transformation", FILE, MOSAIKS, UTM | {"crs": "IAU_2015:49900"},
    ),
    "a crs of three coordinates": (
        SpecError, "crs", "two coordinates", FILE, MOSAIKS, UTM | {"crs": "EPSG:4978"},
    ),
    "a file of the machine": (
        SpecError, "crs", "is not known", FILE, MOSAIKS,
        UTM | {"crs": "+proj=longlat +nadgrids=/etc/passwd"},
    ),
    "a rotated transform": (
        SpecError, "transform", "bring the pixels to such a grid first", FILE, MOSAIKS,
        UTM | {"transform": (10, 1, 0, 1, -10, 0)},
    ),
    "south up": (
        SpecError, "transform", "bring the pixels to such a grid first", FILE, MOSAIKS,
        UTM | {"transform": (10, 0, 0, 0, 10, 0)},
    ),
    "a size that is not told": (
        ModelError, "transform", "reads the size of a pixel", FILE, Galileo.card, {"times": [JUNE]},
    ),
    "a size that is not told to thor": (
        ModelError, "transform", "reads the size of a pixel", FILE, THOR, {},
    ),
    "a size in degrees": (
        ModelError, "crs", "a crs in metres", FILE, THOR,
        {"crs": "EPSG:4326", "transform": (1e-4, 0, 34, 0, -1e-4, -3)},
    ),
    "a size beyond the edge of the world": (
        SpecError, "transform", "outside", FILE, THOR,
        {"crs": "EPSG:32736", "transform": (10, 0, 1e12, 0, -10, 1e12)},
    ),
    "a size in metres of the web": (
        ModelError, "crs", "a crs in metres", FILE, THOR,
        {"crs": "EPSG:3857", "transform": (10, 0, 1e6, 0, -10, 6e6)},
    ),
    "times that are not told": (
        ModelError, "times", "reads the time of the pixels", FILE, Galileo.card, UTM,
    ),
    "fewer times than frames": (
        SpecError, "times", "2 frames but 1 times", replace(FILE, pixels=SERIES), Galileo.card,
        UTM | {"times": [JUNE]},
    ),
    "more frames than are read": (
        ModelError, "pixels", "up to 24 images of a region over time, got 26",
        replace(FILE, pixels=np.concatenate([SERIES] * 13)), Galileo.card,
        UTM | {"times": [JUNE] * 26},
    ),
    "another number of frames": (
        ModelError, "model_config.n_frames", "there are 2 frames", replace(FILE, pixels=SERIES),
        Galileo.card, UTM | {"times": [JUNE] * 2, "model_config": {"n_frames": 3}},
    ),
    "a single frame of two": (
        ModelError, "model_config.temporal_mode", "there are 2 frames",
        replace(FILE, pixels=SERIES), Galileo.card,
        UTM | {"times": [JUNE] * 2, "model_config": {"temporal_mode": "single"}},
    ),
    "several frames of one": (
        ModelError, "model_config.temporal_mode", "there are 1 frames", FILE, Galileo.card,
        UTM | {"times": [JUNE], "model_config": {"temporal_mode": "multi"}},
    ),
    "frames where one image is read": (
        ModelError, "pixels", "mosaiks reads up to 1 images", replace(FILE, pixels=SERIES),
        MOSAIKS, {},
    ),
    "another modality": (
        ModelError, "modality", "accepted: s2", FILE, MOSAIKS, {"modality": "sentinel-1"},
    ),
    "an option that there is not": (
        ModelError, "model_config.colour", "colour", FILE, MOSAIKS,
        {"model_config": {"colour": 1}},
    ),
    "no imagery": (
        ModelError, "model", "reads images only", FILE, get_model_class("dino_v2_vits14").card, {},
    ),
    "tiles that do not fit": (
        SpecError, "input_prep.tile_stride", "tile_stride", FILE, MOSAIKS,
        {"input_prep": {"mode": "tile", "tile_size": 8, "tile_stride": 9}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    """Each with the field at fault and what would be right."""
    kind, field, says, file, card, fields = BAD[name]
    with pytest.raises(GeoBentoError) as caught:
        plan(file, card, **fields)
    assert type(caught.value) is kind
    assert (caught.value.field, says in caught.value.message) == (field, True), caught.value.message


REGION = {"type": "PointBuffer", "lon": 34.072, "lat": -3.398, "buffer_m": 300}
"""A tenth of it is under clouds."""
WINDOW = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}
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


def asked(engine: LocalEngine, model: str, pixels: bytes, **fields: Any) -> Embedding:
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
    answer = asked(engine, model, pixels, times=sample.times, **own, **form)
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


@pytest.fixture(scope="module")
def mosaiks(mosaiks_stored: Any) -> LocalEngine:
    """The engine with `mosaiks` alone."""
    return LocalEngine(Settings(models=(mosaiks_stored.tag,)))


def array(pixels: NDArray[Any]) -> bytes:
    """An `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


SAID: dict[str, Any] = {"bands": S2, "units": "digital numbers"}


def test_an_array_lies_nowhere(mosaiks: LocalEngine) -> None:
    """Its vectors are those of the same pixels with a region; its grid has none."""
    data = array(NUMBERS)
    bare, placed = asked(mosaiks, "mosaiks", data, **SAID), asked(
        mosaiks, "mosaiks", data, **SAID, **UTM
    )  # fmt: skip
    np.testing.assert_array_equal(bare.data, placed.data)
    assert placed.meta.crs == geotiffs.CRS
    grid = asked(mosaiks, "mosaiks", data, **SAID, **GRID)
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
    bare = asked(mosaiks, "mosaiks", array(big), **SAID, **form)
    placed = asked(mosaiks, "mosaiks", array(big), **SAID, **form, **UTM)
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
    answer = asked(mosaiks, "mosaiks", file, **GRID)
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
    answer = asked(mosaiks, "mosaiks", array(NUMBERS), **SAID, crs=crs, transform=transform)
    assert answer.meta.footprint is None
    assert answer.meta.pixels is not None


@pytest.fixture(scope="module")
def galileo() -> LocalEngine:
    """The engine with a small Galileo alone."""
    return opened(Galileo)


def test_a_series_goes_to_the_model_with_its_times(galileo: LocalEngine) -> None:
    """Frames and months change the vector; a series of one is an image."""
    series = np.stack([NUMBERS, NUMBERS[::-1]])
    said = SAID | UTM
    both = asked(galileo, "galileo", array(series), **said, times=["2023-01-02", "2023-07-02"])
    later = asked(galileo, "galileo", array(series), **said, times=["2023-03-02", "2023-09-02"])
    assert not np.allclose(both.data, later.data, atol=1e-4)
    assert both.meta.scenes is not None
    assert [scene.time[:10] for scene in both.meta.scenes] == ["2023-01-02", "2023-07-02"]
    one = asked(galileo, "galileo", array(NUMBERS), **said, times=[JUNE])
    same = asked(galileo, "galileo", array(NUMBERS[None]), **said, times=[JUNE])
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
    answer = asked(
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
    grid = asked(galileo, "galileo", array(series), **SAID, **UTM, **form, times=times)
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
    request = {"model": "galileo", "pixels": array(SERIES), "times": [JUNE] * 2, **SAID, **UTM}
    with pytest.raises(GeoBentoError) as caught:
        asked(galileo, **(request | fields))
    assert caught.value.field == field


@pytest.mark.usefixtures("demo_archive")
def test_an_option_that_needs_the_region(galileo: LocalEngine) -> None:
    """Where the pixels lie goes to the model if it asks for it."""
    here = asked(galileo, "galileo", array(NUMBERS), **SAID, **UTM, times=[JUNE])
    reported = asked(
        galileo, "galileo", array(NUMBERS), **SAID, **UTM, times=[JUNE],
        model_config={"location": True},
    )  # fmt: skip
    assert not np.allclose(here.data, reported.data, atol=1e-5)
