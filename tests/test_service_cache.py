"""The service asks for the same pixels once: real processes, real HTTP, a stand-in that counts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.imagery.catalogs import GRID
from tests.imagery.ee_server import Fault, Standin, earth_engine
from tests.imagery.world import WorldScene, shifted
from tests.servers import serving

pytestmark = pytest.mark.slow

JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}
SCENE = WorldScene("scene", "2023-06-10T08:00:00Z", grid=shifted(GRID, -100, -100, 224, 224))


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    """Earth Engine with one scene, slow enough for requests to meet."""
    with earth_engine([SCENE]) as served:
        served.fault = lambda: Fault(delay_s=0.5)
        yield served


def service(standin: Standin, folder: Path) -> Any:
    """The service with its own home, which may be there from an earlier one."""
    return serving(
        folder / "log",
        GEOBENTO_MODELS="mosaiks",
        GEOBENTO_DATA_DIR=str(folder),
        GEOBENTO_EE_PROJECT="some-project",
        GEOBENTO_EE_URL=standin.url,
    )


def ask(client: httpx.Client, *longitudes: float, **temporal: str) -> list[Any]:
    """Vectors and metadata of regions."""
    regions = [
        {"type": "PointBuffer", "lon": lon, "lat": -3.3923, "buffer_m": 100} for lon in longitudes
    ]
    request = {"model": "mosaiks", "spatials": regions, "temporal": JUNE | temporal}
    answer = client.post("/geo_embedding", json=request)
    assert answer.status_code == 200, answer.text
    return [(each["data"], each["meta"]["cached"]) for each in answer.json()["embeddings"]]


@pytest.mark.usefixtures("mosaiks_stored")
def test_the_same_region_is_fetched_once(standin: Standin, tmp_path: Path) -> None:
    """By many at a time, by one request, later, and after a restart; another window anew."""
    with service(standin, tmp_path) as client, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(client, 34.0579), range(20)))
        assert len(standin.calls("computePixels")) == 1
        assert not answers[0][0][1]
        assert all(data == answers[0][0][0] for ((data, _),) in answers)
        twice = ask(client, 34.0590, 34.0590)
        assert len(standin.calls("computePixels")) == 2
        assert twice[0][0] == twice[1][0] != answers[0][0][0]
    with service(standin, tmp_path) as client:
        before = len(standin.requests)
        assert ask(client, 34.0579, 34.0590) == [(answers[0][0][0], True), (twice[0][0], True)]
        assert len(standin.requests) == before
        assert ask(client, 34.0579, start="2023-06-02") == [(answers[0][0][0], False)]
        assert len(standin.calls("computePixels")) == 3
