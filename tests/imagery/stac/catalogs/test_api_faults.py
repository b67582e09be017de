"""Errors of a STAC API and of its files; links that lead elsewhere."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import rasterio

from geobento.schemas.errors import (
    QuotaError,
    SourceError,
    SourceUnavailable,
)
from geobento.schemas.sample import Sample
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.geotiff import MAX_REMOTE_READS
from imagery.stac.source import StacSource
from tests.imagery.queries import SENSOR, bands_of, query, scene
from tests.imagery.stac.catalogs.api_scenes import opened, served
from tests.imagery.stac_server import Fault, StacServer
from tests.imagery.world import write_catalog


def test_temporary_failures_are_retried(
    stac: StacServer, tmp_path: Path, waits: list[float]
) -> None:
    """Busy, out of order, cut off, damaged; a wait that is asked for is waited for."""
    source = served(stac, tmp_path, scene(10))
    faults = [
        Fault(status=429, headers={"retry-after": "7"}),
        Fault(status=503),
        Fault(truncated=True),
        Fault(body='{"type": "Feat'),
    ]
    stac.reset(faults={"search": faults})
    np.testing.assert_array_equal(source.fetch(query()).pixels, bands_of(scene(10)))
    assert len(waits) == 4
    assert waits[0] >= 7
    assert len(stac.requests("search")) == 5


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault(status=429, headers={"retry-after": "3"}), QuotaError, "429"),
        (Fault(status=503), SourceUnavailable, "503"),
        (Fault(truncated=True), SourceError, "ended early"),
        (Fault(body="<html>"), SourceError, "not JSON"),
        (Fault(body="[]"), SourceError, "not a JSON object"),
        (
            Fault(body='{"features": [{"id": 3}]}'),
            SourceError,
            "not answer a search with items",
        ),
        (Fault(body='{"features": 3}'), SourceError, "not answer a search with items"),
        (Fault(status=403), SourceError, "denies access"),
        (Fault(status=307, headers={"location": "http://127.0.0.1:9/"}), SourceError, "redirects"),
        (Fault(status=400), SourceError, "400"),
    ],
)
def test_permanent_failures_are_named(
    stac: StacServer,
    tmp_path: Path,
    waits: list[float],
    fault: Fault,
    error: type[SourceError],
    message: str,
) -> None:
    """Errors name the host or the source, and neither path nor query."""
    source = served(stac, tmp_path, scene(10))
    stac.reset(faults={"search": [fault] * 30})
    with pytest.raises(SourceError, match=message) as caught:
        source.fetch(query())
    assert type(caught.value) is error
    assert any(name in caught.value.message for name in (stac.url.split("//")[1], "stand-in"))
    assert "/search" not in caught.value.message
    if error is QuotaError:
        assert caught.value.retry_after == 3


@pytest.mark.parametrize("kind", ["search", "files"])
def test_no_answer_in_time(stac: StacServer, tmp_path: Path, quick: None, kind: str) -> None:
    """A slow catalog and slow files end at the deadline; the error says so."""
    write_catalog([scene(10)], SENSOR.bands, tmp_path)
    source = opened(stac, tmp_path, timeout_s=1)
    stac.reset(faults={kind: [Fault(delay_s=2.5)] * 40})
    with pytest.raises(SourceUnavailable, match="before the timeout"):
        source.fetch(query())


def test_a_catalog_that_is_not_there() -> None:
    """A closed port: 503 that names the host and nothing else of the URL."""
    with pytest.raises(SourceUnavailable, match=r"^127\.0\.0\.1:9 cannot be reached$") as caught:
        open_catalog("http://127.0.0.1:9/stac?key=secret", timeout_s=1)
    assert caught.value.status == 503


def test_files_are_tried_again(
    stac: StacServer, tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that fails for a moment is read; one that fails for longer, by the next request."""
    source = served(stac, tmp_path, scene(10))
    stac.reset(faults={"files": [Fault(status=503), Fault(status=503)]})
    np.testing.assert_array_equal(source.fetch(query()).pixels, bands_of(scene(10)))
    other = served(stac, tmp_path / "other", scene(11))
    stac.reset(faults={"files": [Fault(status=503)] * 200})
    with pytest.raises(SourceError, match="reading from the source 'stand-in' failed"):
        other.fetch(query())
    stac.reset()
    np.testing.assert_array_equal(other.fetch(query()).pixels, bands_of(scene(11)))


def test_damaged_files(stac: StacServer, tmp_path: Path, quick: None) -> None:
    """Missing, cut off, or another format that could point to any file: 502."""
    source = served(stac, tmp_path, scene(10))
    file = next(tmp_path.rglob("red.tif"))
    whole = file.read_bytes()
    secret = tmp_path / "secret.tif"
    secret.write_bytes(whole)
    virtual = tmp_path / "plain.vrt"
    with rasterio.open(secret) as dataset:
        height, width = dataset.shape
        virtual.write_text(
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{dataset.crs}</SRS>'
            f"<GeoTransform>{','.join(map(str, dataset.transform.to_gdal()))}</GeoTransform>"
            '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
            f"<SourceFilename>{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
        )
    with rasterio.open(virtual) as dataset:
        assert dataset.read(1).any()  # so it would do harm
    for content in (None, whole[:200], virtual.read_bytes(), b"no raster"):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SourceError, match="reading from the source 'stand-in' failed"):
            source.fetch(query())
    file.write_bytes(whole)
    np.testing.assert_array_equal(source.fetch(query()).pixels, bands_of(scene(10)))


@pytest.mark.parametrize(
    ("href", "message"),
    [
        ("http://127.0.0.1:9/red.tif", r"host 127\.0\.0\.1:9, .* GEOBENTO_STAC_HOSTS"),
        ("s3://bucket/red.tif", "S3 bucket 'bucket'"),
        ("file:///etc/red.tif", "not an http"),
        ("/vsicurl/http://127.0.0.1:9/red.tif", "not an http"),
        ("http://a@b:80/red.tif", "not an http"),
        ("http://b\\@a/red.tif", "host b, which"),
        ("{url}/files/red.jp2", "red.jp2 is not a TIFF"),
    ],
)
def test_items_lead_to_no_other_host(
    stac: StacServer, tmp_path: Path, href: str, message: str
) -> None:
    """Files are read from the catalog's own hosts alone, and only TIFFs."""
    catalog = write_catalog([scene(10)], SENSOR.bands, tmp_path)
    file = next(tmp_path.rglob("scene-10.json"))
    nested = file.read_text().replace(
        next(part for part in file.read_text().split('"') if part.endswith("red.tif")),
        href.format(url=stac.url).replace("\\", "\\\\"),
    )
    file.write_text(nested)
    assert catalog.exists()
    with pytest.raises(SourceError, match=message):
        opened(stac, tmp_path).fetch(query())
    assert stac.requests("files") == []


def test_further_hosts(stac: StacServer, tmp_path: Path) -> None:
    """Hosts that the deployer names are read from too."""
    write_catalog([scene(10)], SENSOR.bands, tmp_path)
    other = stac.url.replace("127.0.0.1", "localhost")
    for file in tmp_path.rglob("scene-10.json"):
        for name in ("red", "nir", "scl"):
            text = file.read_text()
            stated = next(part for part in text.split('"') if part.endswith(f"{name}.tif"))
            data = next(tmp_path.rglob(f"{name}.tif"))
            address = stac.file(data).replace(stac.url, other)
            file.write_text(text.replace(stated, address))
    with pytest.raises(SourceError, match="localhost"):
        opened(stac, tmp_path).fetch(query())
    catalog = open_catalog(stac.api(tmp_path), extra_hosts=[other.split("//")[1]], timeout_s=20)
    np.testing.assert_array_equal(StacSource(catalog).fetch(query()).pixels, bands_of(scene(10)))


def test_pages_lead_to_no_other_host(stac: StacServer, tmp_path: Path) -> None:
    """A link to the next page is followed at the catalog's own host alone."""
    source = served(stac, tmp_path, scene(10))
    link = '{"rel": "next", "href": "http://127.0.0.1:9/search"}'
    feature = next(tmp_path.rglob("scene-10.json")).read_text()
    body = f'{{"type": "FeatureCollection", "features": [{feature}], "links": [{link}]}}'
    stac.reset(faults={"search": [Fault(body=body)]})
    with pytest.raises(SourceError, match=r"host 127\.0\.0\.1:9"):
        source.fetch(query())


def test_files_redirect_to_no_file_of_this_machine(
    stac: StacServer, tmp_path: Path, quick: None
) -> None:
    """A server cannot make the service read its own files."""
    source = served(stac, tmp_path, scene(10))
    own = next(tmp_path.rglob("red.tif")).as_uri()
    stac.reset(faults={"files": [Fault(status=302, headers={"location": own})] * 40})
    with pytest.raises(SourceError, match="reading from the source 'stand-in' failed"):
        source.fetch(query())


@pytest.mark.slow
def test_many_requests_with_faults(stac: StacServer, tmp_path: Path, quick: None) -> None:
    """Almost a third of all answers go wrong in 300 requests: every sample is right, all else a
    named error; reads are bounded, no retry is earlier than `Retry-After`, and nothing lasts
    past its deadline.
    """
    timeout_s, later_s, count = 30.0, 1.0, 300
    world = [scene(day, cloudy=True, holes=True) for day in (1, 2)]
    expected = served(stac, tmp_path / "first", *world).fetch(query())
    # Under other names, so that GDAL has nothing cached.
    copies = [copytree(tmp_path / "first", tmp_path / f"copy-{number}") for number in range(count)]
    sources = [opened(stac, copy, timeout_s) for copy in copies]
    chance = random.Random(1)
    bad: list[Fault | None] = [
        Fault(status=503),
        Fault(status=429, headers={"retry-after": f"{later_s:.0f}"}),
        Fault(truncated=True),
        Fault(body="damaged"),
    ]
    faults = {
        kind: [chance.choice(bad) if chance.random() < 0.3 else None for _ in range(6000)]
        for kind in ("search", "files")
    }
    stac.reset(faults=faults)

    def fetch(source: StacSource) -> tuple[Any, float]:
        begun = time.monotonic()
        try:
            answer: Any = source.fetch(query())
        except SourceError as error:
            answer = error
        return answer, time.monotonic() - begun

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(fetch, sources))
    assert max(lasted for _, lasted in answers) < timeout_s + 10
    right = [answer for answer, _ in answers if isinstance(answer, Sample)]
    for answer in right:
        np.testing.assert_array_equal(answer.pixels, expected.pixels)
        np.testing.assert_array_equal(answer.valid, expected.valid)
    assert len(right) > count / 2
    assert len(stac.requests("files")) > 1000
    assert stac.max_in_flight("files") <= MAX_REMOTE_READS
    attempts: dict[str, list[Any]] = {}
    for request in stac.requests("search"):
        attempts.setdefault(request["path"], []).append(request)
    waited = [
        following["begun"] - refused["begun"]
        for of_one in attempts.values()
        for refused, following in pairwise(of_one)
        if refused["fault"]["headers"]
    ]
    assert min(waited) >= later_s
