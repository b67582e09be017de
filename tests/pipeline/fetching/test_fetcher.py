"""Which source answers."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any, cast

import numpy as np
import pytest

from geobento import SensorSpec, TemporalSpec
from geobento.config.settings import Settings
from geobento.observability import request_context
from geobento.schemas.errors import InvalidRequest, NoImageryError, Overloaded, SourceError
from geobento.schemas.sample import Sample
from imagery.query import ImageQuery
from imagery.source import FetchEstimate, Source
from pipeline.fetching.fetcher import ImageryFetcher
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
        ee_project="some-project", ee_url=standin.url, stac=str(demo_archive), data_dir=tmp_path
    )
    layer = ImageryFetcher.from_settings(settings)
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
        data_dir=tmp_path,
        request_timeout_s=0.5,
    )
    layer = ImageryFetcher.from_settings(settings)
    (answer,) = layer.fetch_all([("auto", QUERY)])
    assert isinstance(answer, SourceError)
    assert "Earth Engine" in answer.message


def test_a_failed_opening_is_shared() -> None:
    """Requests that wait for a source to open share its failure."""
    opened: list[int] = []
    waiting = Event()

    def opener() -> Source:
        opened.append(1)
        waiting.wait(5)
        raise SourceError("down")

    layer = ImageryFetcher({"stac": opener}, max_threads=4)

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
        ImageryFetcher.from_settings(Settings(data_dir=tmp_path)).source("gee")


def fetched(settings: Settings) -> Sample:
    """A sample by a layer of its own, as after a restart."""
    (answer,) = ImageryFetcher.from_settings(settings).fetch_all([("auto", QUERY)])
    assert isinstance(answer, Sample)
    return answer


def test_samples_are_cached(standin: Standin, tmp_path: Path) -> None:
    """Of a configured source, unless they are not to be; in `GEOBENTO_DATA_DIR`."""
    settings = Settings(ee_project="some-project", ee_url=standin.url, data_dir=tmp_path)
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
    settings = Settings(stac=str(catalog), data_dir=tmp_path)
    before = fetched(settings)
    assert fetched(settings).cached
    write_catalog([first, WorldScene("second", "2023-06-11T08:00:00Z", 2)], ("B4",), root)
    after = fetched(settings)
    assert not after.cached
    assert (after.pixels != before.pixels).any()


def test_a_catalog_that_is_down_serves_cached_pixels(tmp_path: Path) -> None:
    """After a restart kept pixels are answered, others get the error; when it is back in another
    form, so are its pixels.
    """
    root, away = tmp_path / "catalog", tmp_path / "away"
    catalog = write_catalog([WorldScene("first", "2023-06-10T08:00:00Z", 1)], ("B4",), root)
    settings = Settings(stac=str(catalog), data_dir=tmp_path)
    before = fetched(settings)
    root.rename(away)
    after = fetched(settings)
    assert after.cached
    np.testing.assert_array_equal(after.pixels, before.pixels)
    layer = ImageryFetcher.from_settings(settings)
    other = replace(QUERY, start=TemporalSpec.year(2023).window[0])
    layer.ensure_source([("stac", QUERY)])
    with pytest.raises(SourceError):
        layer.ensure_source([("stac", QUERY), ("stac", other)])
    answers = layer.fetch_all([("stac", other), ("stac", QUERY)])
    assert isinstance(answers[0], SourceError)
    assert isinstance(answers[1], Sample)
    off = settings.model_copy(update={"cache": False})
    (refused,) = ImageryFetcher.from_settings(off).fetch_all([("stac", QUERY)])
    assert isinstance(refused, SourceError)
    write_catalog([WorldScene("second", "2023-06-10T08:00:00Z", 2)], ("B4",), root)
    anew = fetched(settings)
    assert not anew.cached
    assert (anew.pixels != before.pixels).any()


def test_a_source_that_is_down_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while what is kept is answered at once; then the source is asked first."""
    now, opened = [100.0], []
    monkeypatch.setattr("pipeline.fetching.fetcher.time.monotonic", lambda: now[0])
    sample = Sample(np.zeros((1, 2, 2), np.float32), ("B4",), "s2")

    def opener() -> Source:
        opened.append(now[0])
        raise SourceError("down")

    layer = ImageryFetcher({"stac": opener}, 1, stale_if_error={"stac": lambda query: sample})
    for now[0] in (100.0, 110.0, 129.0, 131.0):
        assert layer.fetch_all([("stac", QUERY)]) == [sample]
    assert opened == [100.0, 131.0]


# -- pixels that wait to be used -----------------------------------------------------------------

PATCH_BYTES = GRID.height * GRID.width * 4
JUST_LET_GO = 3 * PATCH_BYTES
"""A thread may still be letting go of what it fetched when the next begins."""
Pair = tuple[str, ImageQuery]


class Counted:
    """A source whose samples say by their first pixel which they are, and that are counted."""

    backend = "stac"

    def __init__(self) -> None:
        self._lock = Lock()
        self._alive: list[weakref.ref[Any]] = []
        self.peak_bytes = 0

    def fetch(self, query: ImageQuery) -> Sample:
        number = query.sensor.fill_value
        if number < 0:
            raise NoImageryError(f"nothing {number:g}")
        pixels = np.full((len(query.sensor.bands), *GRID.shape), number, np.float32)
        with self._lock:
            self._alive = [one for one in self._alive if one() is not None]
            self._alive.append(weakref.ref(pixels))
            alive = [one() for one in self._alive]
            self.peak_bytes = max(
                self.peak_bytes, sum(one.nbytes for one in alive if one is not None)
            )
            del alive
        time.sleep(0.002)
        return Sample(pixels, query.sensor.bands, query.modality)

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        raise NotImplementedError


def patch(number: float, bands: int = 1) -> Pair:
    """A query of so many bands."""
    names = tuple(f"B{band}" for band in range(1, bands + 1))
    return "stac", replace(QUERY, sensor=SensorSpec(S2, names, fill_value=number))


def first(position: int, samples: list[Sample], seconds: float) -> tuple[int, list[float]]:
    """Which region, and which samples."""
    assert seconds > 0
    return position, [float(sample.pixels[0, 0, 0]) for sample in samples]


def bounded(patches: float, threads: int = 4) -> tuple[ImageryFetcher, Counted]:
    """A fetcher that may hold so many patches of a band."""
    source = Counted()
    return ImageryFetcher(
        {"stac": lambda: source}, threads, max_pending_bytes=patches * PATCH_BYTES
    ), source


@pytest.mark.parametrize("patches", [0.5, 2.5, 100])
def test_regions_are_used_in_order(patches: float) -> None:
    """Each with all its samples, or with its first error; an error that was given stays."""
    layer, _ = bounded(patches)
    given = InvalidRequest("given")
    regions: list[Any] = [[patch(n), patch(n + 0.5)] for n in range(8)]
    regions[3] = given
    regions[5] = [patch(5), patch(-5), patch(-6)]
    used: list[int] = []

    def use(position: int, samples: list[Sample], seconds: float) -> Any:
        used.append(position)
        return first(position, samples, seconds)

    answers = layer.map_regions(regions, use)
    assert used == [0, 1, 2, 4, 6, 7]
    assert [answers[n] for n in used] == [(n, [n, n + 0.5]) for n in used]
    assert answers[3] is given
    assert isinstance(answers[5], NoImageryError)
    assert answers[5].message == "nothing -5"


@pytest.mark.parametrize(("patches", "limit"), [(0.5, 3), (3.5, 3), (5, 5)])
def test_pixels_are_fetched_ahead_up_to_the_limit(patches: float, limit: int) -> None:
    """For any number of regions; one that is larger than the limit is held alone."""
    layer, source = bounded(patches)
    regions = [[patch(n, bands=1 + n % 3)] for n in range(60)]
    answers = layer.map_regions(regions, first)
    assert answers == [(n, [n]) for n in range(60)]
    assert source.peak_bytes <= limit * PATCH_BYTES + JUST_LET_GO


def test_requests_share_the_limit() -> None:
    """All end, none waits for another in a circle, and together they keep the bound."""
    layer, source = bounded(4, threads=3)

    def ask(number: int) -> list[Any]:
        regions = [[patch(100 * number + n), patch(n, bands=2)] for n in range(12)]
        return layer.map_regions(regions, first)

    with ThreadPoolExecutor(8) as pool:
        for number, answers in enumerate(pool.map(ask, range(8), timeout=60)):
            assert answers == [(n, [100 * number + n, n]) for n in range(12)]
    assert source.peak_bytes <= 4 * PATCH_BYTES + JUST_LET_GO


def test_a_request_above_the_limit_ends_at_its_deadline() -> None:
    """It is rejected as a whole; when the other is done, it is accepted."""
    layer, _ = bounded(1)
    inside, go_on = Event(), Event()

    def slow(position: int, samples: list[Sample], seconds: float) -> Any:
        inside.set()
        assert go_on.wait(30)
        return first(position, samples, seconds)

    def within(seconds: float) -> list[Any]:
        request_context.begin_request().deadline = time.time() + seconds
        return layer.map_regions([[patch(2)], [patch(3)]], first)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(layer.map_regions, [[patch(1)]], slow)
        assert inside.wait(30)
        with pytest.raises(Overloaded):
            copy_context().run(within, 0.05)
        go_on.set()
        assert other.result() == [(0, [1.0])]
    assert copy_context().run(within, 30) == [(0, [2.0]), (1, [3.0])]


def test_a_failed_request_releases_the_limiter() -> None:
    """Whatever fails in the use of a region, its pixels are released."""
    layer, _ = bounded(3)

    def breaks(position: int, samples: list[Sample], seconds: float) -> None:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            layer.map_regions([[patch(n)] for n in range(3)], breaks)
    assert layer.map_regions([[patch(1, bands=3)]], first) == [(0, [1.0])]


def test_threads_have_the_request_id() -> None:
    """What is logged while several regions are fetched has the id of the request."""
    seen: list[str | None] = []

    class Noting:
        backend = "demo"

        def fetch(self, query: ImageQuery) -> Sample:
            request = request_context.current_request()
            seen.append(None if request is None else request.id)
            raise SourceError("down")

    layer = ImageryFetcher({"demo": lambda: cast(Source, Noting())}, max_threads=2)

    def within() -> None:
        request_context.begin_request("abc")
        layer.fetch_all([("demo", cast(ImageQuery, None))] * 3)

    copy_context().run(within)
    assert seen == ["abc"] * 3
