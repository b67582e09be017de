"""Which files a catalog may make the service open."""

from __future__ import annotations

import pytest

from geobento.schemas.errors import SourceError
from imagery.stac.catalogs.presets import PRESETS
from imagery.stac.files import RemoteFiles
from imagery.stac.http import HostAllowlist

LATER = float("inf")
EARTH_SEARCH = PRESETS["earth-search"]


def test_buckets_that_are_open_to_all() -> None:
    """References to them become https addresses; other buckets are refused by name."""
    files = RemoteFiles(HostAllowlist(EARTH_SEARCH.hosts, allow_http=False), EARTH_SEARCH.buckets)
    assert files.gdal_path("s3://copernicus-dem-30m/a/b.tif", LATER) == (
        "/vsicurl/https://copernicus-dem-30m.s3.amazonaws.com/a/b.tif"
    )
    with pytest.raises(SourceError, match="'usgs-landsat' are not public"):
        files.gdal_path("s3://usgs-landsat/a/b.TIF", LATER)


@pytest.mark.parametrize("name", EARTH_SEARCH.buckets)
def test_every_bucket_is_at_a_host_of_its_preset(name: str) -> None:
    """What a bucket stands for may be read."""
    files = RemoteFiles(HostAllowlist(EARTH_SEARCH.hosts, allow_http=False), EARTH_SEARCH.buckets)
    assert files.gdal_path(f"s3://{name}/b.tif", LATER).startswith("/vsicurl/https://")


@pytest.mark.parametrize(
    ("href", "fine"),
    [
        ("https://a.blob.core.windows.net/c/b.TIF?x=1", True),
        ("https://A.Blob.Core.Windows.net/c/b.tiff", True),
        ("https://a.blob.core.windows.net:443/c/b.tif", True),
        ("https://a.blob.core.windows.net:8443/c/b.tif", False),
        ("http://a.blob.core.windows.net/c/b.tif", False),
        ("https://blob.core.windows.net.example.com/c/b.tif", False),
        ("https://example.com/.blob.core.windows.net/b.tif", False),
        ("https://example.com#.blob.core.windows.net/b.tif", False),
        ("https://example.com\\.blob.core.windows.net/b.tif", False),
        ("https://a.blob.core.windows.net@example.com/b.tif", False),
        ("https://a.blob.core.windows.net/c/b.tif\n", False),
        ("https://a.blob.core.windows.net/c/b.vrt?.tif", False),
        ("https://a.blob.core.windows.net/c/b.vrt#.tif", False),
    ],
)
def test_hosts_by_their_end(href: str, fine: bool) -> None:
    """An address that merely looks like one of the host's is refused."""
    files = RemoteFiles(HostAllowlist([".blob.core.windows.net"], allow_http=False))
    if fine:
        assert files.gdal_path(href, LATER).lower().startswith("/vsicurl/https://a.blob.core")
        return
    with pytest.raises(SourceError):
        files.gdal_path(href, LATER)
