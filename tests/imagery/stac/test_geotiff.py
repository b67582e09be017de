"""GDAL reads of local and remote files."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

import pytest

from imagery.stac import geotiff


def test_no_request_is_given_longer_than_there_is() -> None:
    """Requests for parts of files end with the fetch, and are bounded anyway."""
    now = time.monotonic()
    assert geotiff.gdal_options(now + 1e6)["GDAL_HTTP_TIMEOUT"] == "30"
    assert geotiff.gdal_options(now + 5.4)["GDAL_HTTP_TIMEOUT"] == "5"
    assert geotiff.gdal_options(now - 5)["GDAL_HTTP_TIMEOUT"] == "1"


def test_a_failure_gives_a_file_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL would else remember for good that it could not be read; no name comes twice."""
    monkeypatch.setattr(geotiff, "MAX_TRACKED_FAILURES", 2)
    names = []
    for _ in range(5):
        for file in ("/vsicurl/https://a/b.tif?sig=1", "/vsicurl/https://a/c.tif"):
            geotiff._record_failure(file)
            names.append(geotiff._uncached_name(file))
    assert len(set(names)) == len(names)
    assert names[0].startswith("/vsicurl/https://a/b.tif?sig=1#")
    other = geotiff._uncached_name("/vsicurl/https://a/b.tif?sig=2")
    assert other.startswith("/vsicurl/https://a/b.tif?sig=2")
    assert geotiff._uncached_name("/data/a.tif") == "/data/a.tif"


def test_logs_have_no_queries(caplog: pytest.LogCaptureFixture) -> None:
    """What libraries log of an address ends before what lets others in."""
    logging.getLogger("rasterio._env").error("failed: %s (%d)", "https://a/b.tif?sig=x", 3)
    assert caplog.messages == ["failed: https://a/b.tif"]


def test_so_many_remote_files_at_a_time() -> None:
    """Further reads wait until their deadline; files on disk do not wait."""
    later = time.monotonic() + 30
    with ExitStack() as held:
        for number in range(geotiff.MAX_REMOTE_READS):
            held.enter_context(geotiff._read_slot(f"{geotiff.VSICURL_PREFIX}{number}", later))
        with (
            pytest.raises(TimeoutError),
            geotiff._read_slot(geotiff.VSICURL_PREFIX, time.monotonic() + 0.05),
        ):
            pass
        with geotiff._read_slot("file.tif", later):
            pass
    with geotiff._read_slot(geotiff.VSICURL_PREFIX, later):
        pass
    with pytest.raises(TimeoutError), geotiff._read_slot("file.tif", time.monotonic()):
        pass
