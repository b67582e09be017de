"""What a request for a region answers where its imagery cannot be had."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import (
    GeoBentoError,
    ModelError,
    NoImageryError,
    PayloadTooLarge,
    QuotaError,
    SourceError,
    SourceUnavailable,
)
from geobento.schemas.requests import GeoEmbeddingRequest
from models.weights.stored_model import StoredModel
from pipeline.local_engine import LocalEngine
from tests.imagery.ee_server import Fault as EeFault
from tests.imagery.ee_server import Standin, earth_engine
from tests.imagery.stac_server import Fault, StacServer, stac_server
from tests.imagery.world import S2, WorldScene, write_catalog

REGION = {"type": "PointBuffer", "lon": 34.0578, "lat": -3.3925, "buffer_m": 80}
JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}
CLEAR = WorldScene("clear", "2023-06-10T08:00:00Z")
CLOUDY = replace(CLEAR, index="cloudy", cloud_pct=80.0)
PROJECT = "some-project"


@pytest.fixture
def bands(mosaiks_stored: StoredModel) -> tuple[str, ...]:
    """Those that the model reads."""
    return mosaiks_stored.model().card.modalities["s2"].sensor.bands


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    """Earth Engine."""
    with earth_engine([]) as served:
        yield served


@pytest.fixture(scope="module")
def stac(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StacServer]:
    """A STAC API."""
    with stac_server(tmp_path_factory.getbasetemp()) as served:
        yield served


Ask = Any


@pytest.fixture
def ask(mosaiks_stored: StoredModel, tmp_path: Path) -> Ask:
    """Sends a request for one region; returns the answer or the error."""

    def send(fields: dict[str, Any], **settings: Any) -> Embedding | GeoBentoError:
        given = {"data_dir": tmp_path / "home", "models": (mosaiks_stored.tag,), **settings}
        request = {"model": "mosaiks", "spatial": REGION, "temporal": JUNE, **fields}
        try:
            engine = LocalEngine(Settings(**given))
            (answer,) = engine.geo_embedding(GeoEmbeddingRequest.model_validate(request))
        except GeoBentoError as error:
            return error
        return answer

    return send


@pytest.fixture
def from_either(
    ask: Ask, standin: Standin, stac: StacServer, tmp_path: Path, bands: tuple[str, ...]
) -> Ask:
    """Asks Earth Engine and then a STAC API that have the same scenes."""

    def send(scenes: list[WorldScene], fields: dict[str, Any], **settings: Any) -> Any:
        standin.scenes, standin.faults, standin.max_pixels = scenes, [], None
        stac.reset()
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        write_catalog(scenes, bands, folder)
        api = stac.api(folder)
        ee = {"ee_project": PROJECT, "ee_url": standin.url}
        return [ask(fields, **source, **settings) for source in (ee, {"stac": api})]

    return send


def test_the_region_of_these_tests_has_imagery(from_either: Ask) -> None:
    """Else the errors below could be about the region."""
    for answer in from_either([CLEAR], {}):
        assert isinstance(answer, Embedding), answer
        assert answer.meta.valid_fraction == 1


def test_no_imagery(from_either: Ask) -> None:
    """422, with what the search saw: how many scenes, and the least of their clouds."""
    other = replace(CLOUDY, index="other", cloud_pct=60.0, tile="T2")
    for error in from_either([CLOUDY, other], {}):
        assert isinstance(error, NoImageryError)
        assert error.status == 422
        reported = [error.detail[name] for name in ("scenes_in_window", "too_cloudy")]
        assert (reported, error.detail["min_cloud_pct"]) == ([2, 2], 60)
        assert "at most 30 % cloud" in error.message
    for error in from_either([replace(CLEAR, time="2022-06-10T08:00:00Z")], {}):
        assert isinstance(error, NoImageryError)
        assert (error.detail["scenes_in_window"], error.detail["too_cloudy"]) == (0, 0)


@pytest.mark.parametrize(
    ("sensor", "field", "message"),
    [
        ({"collection": "COPERNICUS/S2_SR_HARMONISED"}, "collection", f"did you mean '{S2}'"),
        ({"collection": "copernicus/s1_grd"}, "collection", "did you mean 'COPERNICUS/S1_GRD'"),
        ({"bands": ["b8a"]}, "bands", "did you mean 'B8A'"),
        ({"bands": ["xyz"]}, "bands", "got xyz$"),
    ],
)
def test_names_that_are_not_known(
    ask: Ask, bands: tuple[str, ...], sensor: dict[str, Any], field: str, message: str
) -> None:
    """400 with the field, what is accepted, and what resembles the name."""
    error = ask({"sensor": {"collection": S2, "bands": bands, **sensor}})
    assert isinstance(error, ModelError)
    assert (error.status, error.field) == (400, f"sensor.{field}")
    with pytest.raises(ModelError, match=message):
        raise error


def test_no_credentials(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error says which two commands help, and for which project."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    error = ask({}, ee_project=PROJECT)
    assert isinstance(error, SourceError)
    assert "`earthengine authenticate`" in error.message
    assert f"`earthengine set_project {PROJECT}`" in error.message
    assert str(tmp_path) not in error.message


def test_regions_above_the_limits(ask: Ask, standin: Standin) -> None:
    """413 with the numbers: of the service, and of a source that cannot be split any further."""
    error = ask({}, max_region_pixels=100)
    assert isinstance(error, PayloadTooLarge)
    assert (error.status, error.detail) == (413, {"pixels": 256, "limit": 100})
    standin.scenes, standin.max_pixels = [CLEAR], 1
    error = ask({}, ee_project=PROJECT, ee_url=standin.url)
    assert isinstance(error, PayloadTooLarge)
    assert (error.detail["passes"], error.detail["height"], error.detail["width"]) == (1, 16, 16)


def test_sources_that_cannot_be_reached(ask: Ask) -> None:
    """503, and which one it is."""
    closed_port = "http://127.0.0.1:9"
    for name, settings in (
        ("Earth Engine", {"ee_project": PROJECT, "ee_url": closed_port}),
        ("127.0.0.1:9", {"stac": f"{closed_port}/stac"}),
    ):
        error = ask({}, request_timeout_s=0.5, **settings)
        assert isinstance(error, SourceUnavailable)
        assert error.status == 503
        assert name in error.message


def test_cached_pixels_need_no_source(ask: Ask, tmp_path: Path, bands: tuple[str, ...]) -> None:
    """What was fetched before is answered while the source is down; what was not is its error."""
    write_catalog([CLEAR], bands, tmp_path / "catalog")
    other = {"fetch": {"scale_m": 20}}
    with earth_engine([CLEAR]) as ee, stac_server(tmp_path) as stac:
        sources = (
            {"ee_project": PROJECT, "ee_url": ee.url},
            {"stac": stac.api(tmp_path / "catalog")},
        )
        before = [ask({}, **source) for source in sources]
    for answer, source in zip(before, sources, strict=True):
        again = ask({}, **source)
        assert isinstance(answer, Embedding)
        assert isinstance(again, Embedding)
        assert (answer.meta.cached, again.meta.cached) == (False, True)
        assert again.data.tobytes() == answer.data.tobytes()
        assert again.meta.without_timing() == answer.meta.without_timing()
        assert isinstance(ask(other, request_timeout_s=0.5, **source), SourceUnavailable)
        down = ask({}, cache=False, request_timeout_s=0.5, **source)
        assert isinstance(down, SourceUnavailable)


@pytest.mark.parametrize(("status", "kind"), [(503, SourceUnavailable), (429, QuotaError)])
def test_retry_after_of_sources_is_passed_on(
    ask: Ask,
    standin: Standin,
    stac: StacServer,
    tmp_path: Path,
    status: int,
    kind: type[SourceError],
) -> None:
    """Whether at their opening or later, the answer says it on."""
    wait = {"retry-after": "9"}
    write_catalog([CLEAR], ("B4",), tmp_path / "catalog")
    for opening in ("landing", "search"):
        stac.reset(faults={opening: [Fault(status=status, headers=wait)]})
        error = ask({}, stac=stac.api(tmp_path / "catalog"), request_timeout_s=5)
        assert isinstance(error, kind)
        assert (error.status, error.retry_after) == (status, 9)
    standin.faults = [EeFault(status, "no", wait)]
    error = ask({}, ee_project=PROJECT, ee_url=standin.url, request_timeout_s=5)
    assert isinstance(error, kind)
    assert (error.status, error.retry_after) == (status, 9)
