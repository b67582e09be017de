"""What a region costs at Earth Engine: ``python -m benchmarks.earth_engine``.

Writes ``results/earth_engine.json`` and ``results/earth_engine.md``: requests, and bytes before
compression, by this service and by the recipe in common use, which is `size()` and
`sampleRectangle()` of every frame, and of a series once more of the whole window, whose composite
stands in for frames without a scene. Both ask the tests' stand-in for Earth Engine, and both have
to come to the same pixels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from benchmarks.images import write_results
from geobento import SensorSpec
from geobento.schemas.sample import PixelGrid
from imagery.collections import registry
from imagery.earth_engine.client import EarthEngineClient
from imagery.earth_engine.rate_limiter import ProcessSharedRateLimiter
from imagery.earth_engine.source import EarthEngineSource
from imagery.query import ImageQuery
from imagery.time_bins import bin_edges
from tests.imagery.catalogs import GRID
from tests.imagery.ee_server import ReceivedRequest, Standin, earth_engine
from tests.imagery.world import S2, WorldScene, shifted

START, DAYS = datetime(2023, 1, 1, tzinfo=UTC), 360
REVISIT_DAYS = 10
TIMEOUT_S = 300
COLUMNS = ("what", "frames", "size", "requests", "received", "sent", "of_recipe")


def make_scenes(size: int) -> list[WorldScene]:
    """A clear scene every ten days."""
    return [
        WorldScene(
            f"day-{day:03}",
            (START + timedelta(days=day, hours=8)).isoformat(),
            seed=day,
            grid=shifted(GRID, 0, 0, size, size),
        )
        for day in range(0, DAYS, REVISIT_DAYS)
    ]


def make_query(grid: PixelGrid, frames: int) -> ImageQuery:
    """All bands of a region, a year in equal parts."""
    sensor = SensorSpec(S2, tuple(registry.get(S2).bands))
    return ImageQuery(sensor, grid, START, START + timedelta(days=DAYS), "s2", frames)


def fetch_by_recipe(client: EarthEngineClient, query: ImageQuery) -> NDArray[np.float32]:
    """The pixels (T, C, H, W) as others fetch them."""
    edges = bin_edges(query)
    if query.frames > 1:
        _fetch_composite(client, query, query.start, query.end)
    return np.stack([_fetch_composite(client, query, *part) for part in pairwise(edges)])


def _fetch_composite(
    client: EarthEngineClient, query: ImageQuery, start: datetime, end: datetime
) -> NDArray[np.float32]:
    def info(value: Any) -> Any:
        return client.call(value.getInfo, time.monotonic() + TIMEOUT_S)

    grid, sensor = query.grid, query.sensor
    region = ee.Geometry.Rectangle(list(grid.bounds), grid.crs, False)
    scenes = (
        ee.ImageCollection(sensor.collection)
        .filterBounds(region)
        .filterDate(*(round(instant.timestamp() * 1000) for instant in (start, end)))
        .filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", sensor.cloudy_pct))
    )
    assert info(scenes.size())
    image = scenes.median().select(list(sensor.bands)).reproject(grid.crs, None, sensor.scale_m)
    rows = info(image.sampleRectangle(region=region, defaultValue=0))["properties"]
    return np.array([rows[band] for band in sensor.bands], np.float32)


def table_row(name: str, query: ImageQuery, requests: Sequence[ReceivedRequest]) -> dict[str, Any]:
    """Requests and bytes."""
    return {
        "what": name,
        "frames": query.frames,
        "size": "x".join(map(str, query.grid.shape)),
        "requests": len(requests),
        "received": sum(each.sent for each in requests),
        "sent": sum(int(each.headers["content-length"]) for each in requests),
    }


def compare(standin: Standin, client: EarthEngineClient, query: ImageQuery) -> list[Any]:
    """A row of the recipe and one of the service."""
    standin.requests = []
    expected = fetch_by_recipe(client, query)
    of_recipe = table_row("recipe", query, standin.requests)
    standin.requests = []
    source = EarthEngineSource(client, timeout_s=TIMEOUT_S)
    pixels = source.fetch(query).pixels.reshape(expected.shape)
    np.testing.assert_array_equal(pixels, expected)
    ours = table_row("service", query, standin.requests)
    return [of_recipe, {**ours, "of_recipe": round(ours["received"] / of_recipe["received"], 2)}]


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", type=int, default=[64, 224])
    parser.add_argument("--frames", nargs="*", type=int, default=[1, 4, 12])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, earth_engine([]) as standin:
        client = EarthEngineClient(
            "some-project",
            url=standin.url,
            key_file=None,
            limiter=ProcessSharedRateLimiter(Path(folder), 4, 1e6),
            timeout_s=TIMEOUT_S,
        )
        for size in options.sizes:
            standin.scenes = make_scenes(size)
            for frames in options.frames:
                query = make_query(standin.scenes[0].grid, frames)
                for result in compare(standin, client, query):
                    rows.append(result)
                    print(result, flush=True)
    write_results(rows, "stand-in for Earth Engine", "earth_engine", COLUMNS)


if __name__ == "__main__":
    main()
