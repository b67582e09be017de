"""The files that a catalog may make the service open: those in its folder, or at its hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

import httpx

from geobento.schemas.errors import SourceError
from imagery.stac.geotiff import MAX_REMOTE_READS, VSICURL_PREFIX
from imagery.stac.http import HostAllowlist, parse_url

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF, both byte orders."""
TIFF_SUFFIXES = (".tif", ".tiff")

UrlSigner = Callable[[httpx.URL, float], httpx.URL]
"""From an address to one that is let in, until a deadline."""


class AssetFiles(Protocol):
    """How the files of a catalog's items are opened. Safe for several threads."""

    @property
    def max_concurrent_reads(self) -> int:
        """How many of a place to read at a time: waiting for a network is done side by side."""

    def gdal_path(self, href: str, deadline: float) -> str:
        """What GDAL opens for the absolute reference of an asset.

        Raises:
            SourceError: The catalog may not point there.
        """


class LocalFiles:
    """The files in a folder.

    Args:
        root: The folder.
    """

    max_concurrent_reads = 1

    def __init__(self, root: Path) -> None:
        self._root = root

    def gdal_path(self, href: str, deadline: float) -> str:
        """What GDAL opens, see `Files`."""
        return str(resolve_tiff(href, self._root))


class RemoteFiles:
    """The TIFFs at some hosts, read in ranges.

    Args:
        allowlist: The hosts.
        buckets: Base URLs of the S3 buckets that references may name.
        sign_url: Lets an address in; None: files are open to all.
    """

    max_concurrent_reads = MAX_REMOTE_READS

    def __init__(
        self,
        allowlist: HostAllowlist,
        buckets: Mapping[str, str] | None = None,
        sign_url: UrlSigner | None = None,
    ) -> None:
        self._allowlist = allowlist
        self._buckets = buckets or {}
        self._sign_url = sign_url

    def gdal_path(self, href: str, deadline: float) -> str:
        """What GDAL opens, see `Files`."""
        url = self._allowlist.check(self._http_url(href))
        if not url.path.lower().endswith(TIFF_SUFFIXES):
            raise SourceError(f"the file {_basename(url.path)} is not a TIFF")
        signed = self._sign_url(url, deadline) if self._sign_url is not None else url
        return f"{VSICURL_PREFIX}{signed.copy_with(fragment=None)}"

    def _http_url(self, href: str) -> httpx.URL:
        bucket, _, key = href.removeprefix("s3://").partition("/")
        if not href.startswith("s3://"):
            return parse_url(href)
        if bucket not in self._buckets:
            raise SourceError(f"the files of the S3 bucket {bucket!r} are not open to all")
        return parse_url(f"{self._buckets[bucket]}/{key}")


class LocalAndRemoteFiles:
    """Files in a folder, and those at some hosts.

    Args:
        local: The former.
        remote: The latter.
    """

    def __init__(self, local: LocalFiles, remote: RemoteFiles) -> None:
        self.max_concurrent_reads = remote.max_concurrent_reads
        self._local = local
        self._remote = remote

    def gdal_path(self, href: str, deadline: float) -> str:
        """What GDAL opens, see `Files`."""
        local = urlparse(href).scheme in ("", "file")
        return (self._local if local else self._remote).gdal_path(href, deadline)


def resolve_tiff(href: str, root: Path) -> Path:
    """The file of an asset, which has to lie within the catalog's own folder.

    Raises:
        SourceError: It lies elsewhere, is not a TIFF, or is missing. Formats that can point to
            further files (VRT) are refused with everything that is not a TIFF.
    """
    path = resolve_inside(href, root, root)
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SourceError(f"the file {path.name} cannot be read") from error
    if magic not in TIFF_MAGIC:
        raise SourceError(f"the file {path.name} is not a TIFF")
    return path


def resolve_inside(href: str, base: Path, root: Path) -> Path:
    """The file that a reference means, relative ones from `base`; it has to lie within `root`.

    Raises:
        SourceError: It does not.
    """
    parts = urlparse(href)
    if parts.scheme not in ("", "file"):
        raise SourceError(f"{_basename(parts.path)} is not a local file")
    path = (base / (unquote(parts.path) if parts.scheme else href)).resolve()
    if not path.is_relative_to(root):
        raise SourceError(f"the file {path.name} lies outside the catalog's folder")
    return path


def _basename(path: str) -> str:
    return path.rsplit("/", 1)[-1]
