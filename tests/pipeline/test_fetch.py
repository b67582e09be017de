"""Which source answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from threading import Event
from typing import cast

import pytest

from geobento import SensorSpec, TemporalSpec, current
from geobento.errors import InvalidRequest, SourceError
from geobento.sample import Sample
from geobento.settings import Settings
from imagery.source import ImageQuery, Source
from pipeline.fetch import FetchLayer
from tests.imagery.catalogs import GRID
from tests.imagery.ee_server import Standin, earth_engine
from tests.imagery.world import S2, WorldScene, write_catalog

WINDOW = TemporalSpec.range("2023-06-01", "2023-07-01").window
QUERY = ImageQuery(SensorSpec(S2, ("B4",)), GRID, *WINDOW, "s2")


@pytest.fixture
def standin() -> Iterator[Standin]:
    """Earth Engine with one scene."""
    with earth_engine([WorldScene("scene", "2023-06-10T08:00:00Z")]) as served:
        yield served


def test_auto_is_earth_engine_where_it_is_configured(
    standin: Standin, tmp_path: Path, demo_archive: Path
) -> None:
    """Before STAC, before the demo archive; the others can be asked for."""
    settings = Settings(
        ee_project="some-project", ee_url=standin.url, stac=str(demo_archive), home=tmp_path
    )
    layer = FetchLayer.configured(settings)
    assert layer.source("auto").backend == "gee"
    assert layer.source("stac").backend == "stac"
    (answer,) = layer.fetch_all([("auto", QUERY)])
    assert isinstance(answer, Sample)
    assert answer.provenance is not None
    assert answer.provenance.backend == "gee"


def test_a_source_that_is_down_is_named_and_not_replaced(
    tmp_path: Path, demo_archive: Path
) -> None:
    """Where Earth Engine cannot be reached, `auto` fails though other sources are there."""
    settings = Settings(
        ee_project="some-project",
        ee_url="http://127.0.0.1:9",
        stac=str(demo_archive),
        home=tmp_path,
        request_timeout_s=0.5,
    )
    layer = FetchLayer.configured(settings)
    (answer,) = layer.fetch_all([("auto", QUERY)])
    assert isinstance(answer, SourceError)
    assert "Earth Engine" in answer.message


def test_those_who_waited_learn_of_a_failure_at_once() -> None:
    """A source that takes long to fail is not opened by one request after another."""
    opened: list[int] = []
    waiting = Event()

    def opener() -> Source:
        opened.append(1)
        waiting.wait(5)
        raise SourceError("down")

    layer = FetchLayer({"stac": opener}, threads=4)

    def ask(number: int) -> str:
        if number == 3:
            time.sleep(0.2)  # the others stand at the lock
            waiting.set()
        else:
            with pytest.raises(SourceError, match="down"):
                layer.source("auto")
        return "asked"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["asked"] * 4
    assert len(opened) == 1
    with pytest.raises(SourceError):
        layer.source("stac")
    assert len(opened) == 2


def test_earth_engine_without_a_project(tmp_path: Path) -> None:
    """The word `gee` is refused with what is there."""
    with pytest.raises(InvalidRequest, match="accepted: auto, demo"):
        FetchLayer.configured(Settings(home=tmp_path)).source("gee")


def fetched(settings: Settings) -> Sample:
    """A sample by a layer of its own, as after a restart."""
    (answer,) = FetchLayer.configured(settings).fetch_all([("auto", QUERY)])
    assert isinstance(answer, Sample)
    return answer


def test_samples_are_kept(standin: Standin, tmp_path: Path) -> None:
    """Of a configured source, unless they are not to be; in `GEOBENTO_HOME`."""
    settings = Settings(ee_project="some-project", ee_url=standin.url, home=tmp_path)
    assert [fetched(settings).cached for _ in range(2)] == [False, True]
    assert len(standin.calls("computePixels")) == 1
    assert list((tmp_path / "patches").glob("*.patch"))
    off = settings.model_copy(update={"cache": False})
    assert fetched(off).cached is None
    other = settings.model_copy(update={"ee_project": "other-project"})
    assert fetched(other).cached is False


def test_a_catalog_that_changed_is_read_anew(tmp_path: Path) -> None:
    """After a restart: a scene that was added, wherever its link stands, is in the answer."""
    root = tmp_path / "catalog"
    first = WorldScene("first", "2023-06-10T08:00:00Z", 1)
    catalog = write_catalog([first], ("B4",), root)
    settings = Settings(stac=str(catalog), home=tmp_path)
    before = fetched(settings)
    assert fetched(settings).cached
    write_catalog([first, WorldScene("second", "2023-06-11T08:00:00Z", 2)], ("B4",), root)
    after = fetched(settings)
    assert not after.cached
    assert (after.pixels != before.pixels).any()


def test_threads_know_the_request() -> None:
    """What is logged while several places are fetched has the id of the request."""
    seen: list[str | None] = []

    class Noting:
        backend = "demo"

        def fetch(self, query: ImageQuery) -> Sample:
            asked = current.get()
            seen.append(None if asked is None else asked.id)
            raise SourceError("down")

    layer = FetchLayer({"demo": lambda: cast(Source, Noting())}, threads=2)

    def within() -> None:
        current.begin("abc")
        layer.fetch_all([("demo", cast(ImageQuery, None))] * 3)

    copy_context().run(within)
    assert seen == ["abc"] * 3
