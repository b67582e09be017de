"""Asset files that a catalog may refer to: in its folder, or on allowed hosts."""

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
"""First bytes of TIFF and BigTIFF files, in both byte orders."""
TIFF_SUFFIXES = (".tif", ".tiff")

UrlSigner = Callable[[httpx.URL, float], httpx.URL]
"""Signs a URL; the second argument is the deadline."""


class AssetFiles(Protocol):
    """Access to the asset files of a catalog. Thread-safe."""

    @property
    def max_concurrent_reads(self) -> int:
        """Number of files of one region to read concurrently."""

    def gdal_path(self, href: str, deadline: float) -> str:
        """The GDAL file name of an absolute asset href.

        Raises:
            SourceError: The catalog may not refer to this file.
        """


class LocalFiles:
    """Files in a folder.

    Args:
        root: The folder.
    """

    max_concurrent_reads = 1

    def __init__(self, root: Path) -> None:
        self._root = root

    def gdal_path(self, href: str, deadline: float) -> str:
        """The GDAL file name of an asset, see `AssetFiles`."""
        return str(resolve_tiff(href, self._root))


class RemoteFiles:
    """TIFF files on allowed hosts, read with range requests.

    Args:
        allowlist: Allowed hosts.
        buckets: Base URLs of the allowed S3 buckets.
        sign_url: Signs URLs; None if files are public.
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
        """The GDAL file name of an asset, see `AssetFiles`."""
        url = self._allowlist.check(self._http_url(href))
        if not url.path.lower().endswith(TIFF_SUFFIXES):
            raise SourceError(f"the file {basename(url.path)} is not a TIFF")
        signed = self._sign_url(url, deadline) if self._sign_url is not None else url
        return f"{VSICURL_PREFIX}{signed.copy_with(fragment=None)}"

    def _http_url(self, href: str) -> httpx.URL:
        bucket, _, key = href.removeprefix("s3://").partition("/")
        if not href.startswith("s3://"):
            return parse_url(href)
        if bucket not in self._buckets:
            raise SourceError(f"the files of the S3 bucket {bucket!r} are not public")
        return parse_url(f"{self._buckets[bucket]}/{key}")


class LocalAndRemoteFiles:
    """Files in a folder and on allowed hosts.

    Args:
        local: Files in the folder.
        remote: Files on the hosts.
    """

    def __init__(self, local: LocalFiles, remote: RemoteFiles) -> None:
        self.max_concurrent_reads = remote.max_concurrent_reads
        self._local = local
        self._remote = remote

    def gdal_path(self, href: str, deadline: float) -> str:
        """The GDAL file name of an asset, see `AssetFiles`."""
        is_local = urlparse(href).scheme in ("", "file")
        return (self._local if is_local else self._remote).gdal_path(href, deadline)


def resolve_tiff(href: str, root: Path) -> Path:
    """The path of a TIFF inside the catalog's folder.

    Raises:
        SourceError: The file lies elsewhere, is missing, or is not a TIFF. This refuses formats
            that can refer to other files, such as VRT.
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
    """Resolve an href, relative to `base`, to a path inside `root`.

    Raises:
        SourceError: The path lies outside `root`.
    """
    parts = urlparse(href)
    if parts.scheme not in ("", "file"):
        raise SourceError(f"{basename(parts.path)} is not a local file")
    path = (base / (unquote(parts.path) if parts.scheme else href)).resolve()
    if not path.is_relative_to(root):
        raise SourceError(f"the file {path.name} lies outside the catalog's folder")
    return path


def basename(path: str) -> str:
    """The last component of a path or URL, for messages."""
    return path.rsplit("/", 1)[-1]
