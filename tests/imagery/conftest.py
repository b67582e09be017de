"""One stand-in for Earth Engine for all tests: the client's state belongs to the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest

from imagery.earth_engine.client import EarthEngineClient
from imagery.earth_engine.rate_limiter import ProcessSharedRateLimiter
from imagery.earth_engine.source import EarthEngineSource
from imagery.stac import geotiff
from tests.imagery.ee_server import Standin, earth_engine
from tests.imagery.stac_server import StacServer, stac_server

PROJECT = "some-project"
OpenSource = Callable[..., EarthEngineSource]
LONG_S = 30.0
Waiters = Callable[[int], None]


@pytest.fixture(scope="session")
def served() -> Iterator[Standin]:
    """The server of all tests."""
    with earth_engine([]) as standin:
        yield standin


@pytest.fixture(scope="session")
def client(served: Standin, tmp_path_factory: pytest.TempPathFactory) -> EarthEngineClient:
    """The client of most tests."""
    return open_client(served, tmp_path_factory.mktemp("limits"))


@pytest.fixture
def standin(served: Standin) -> Standin:
    """The server without scenes and faults, and with nothing asked yet."""
    while served.in_flight:  # a request that an earlier test gave up
        time.sleep(0.02)
    served.scenes, served.faults, served.requests = [], [], []
    served.fault = lambda: None
    served.max_pixels = None
    served.max_in_flight = 0
    return served


@pytest.fixture
def source(standin: Standin, client: EarthEngineClient) -> EarthEngineSource:
    """A source that asks the server."""
    return EarthEngineSource(client, timeout_s=20)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long is waited between attempts, instead of waiting."""
    waited: list[float] = []
    sleep = time.sleep

    def recorded(seconds: float) -> None:
        waited.append(seconds)
        sleep(0)

    monkeypatch.setattr("imagery.retry.sleep", recorded)
    return waited


@pytest.fixture
def waiters(monkeypatch: pytest.MonkeyPatch) -> Waiters:
    """Blocks until so many threads more wait for somebody else's work."""
    arrived = Semaphore(0)

    def announced(*args: Any) -> Any:
        arrived.release()
        return wait(*args)

    monkeypatch.setattr("imagery.cache.single_flight.wait", announced)

    def until(count: int) -> None:
        for _ in range(count):
            assert arrived.acquire(timeout=LONG_S)

    return until


def open_client(
    standin: Standin, folder: Path, in_flight: int = 4, timeout_s: float = 20
) -> EarthEngineClient:
    """A client for a server, with its own limits."""
    return EarthEngineClient(
        PROJECT,
        url=standin.url,
        key_file=None,
        limiter=ProcessSharedRateLimiter(folder, in_flight, 1e6),
        timeout_s=timeout_s,
    )


@pytest.fixture(scope="session")
def stac_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StacServer]:
    """The STAC server of all tests, over their temporary folders."""
    with stac_server(tmp_path_factory.getbasetemp()) as server:
        yield server


@pytest.fixture
def stac(stac_process: StacServer) -> StacServer:
    """The STAC server without faults, and with nothing asked yet."""
    stac_process.reset()
    return stac_process


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are tried again without much waiting."""
    monkeypatch.setattr(geotiff, "sleep", lambda seconds: time.sleep(seconds / 100))
    monkeypatch.setitem(geotiff.GDAL_OPTIONS, "GDAL_HTTP_RETRY_DELAY", "0.01")
