"""The files that a catalog may make the service open: those in its folder, or at its hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

import httpx

from geobento.schemas.errors import SourceError
from imagery.stac.geotiff import REMOTE, REMOTE_READS
from imagery.stac.http import Hosts, parsed

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF, both byte orders."""
TIFF_SUFFIXES = (".tif", ".tiff")

Sign = Callable[[httpx.URL, float], httpx.URL]
"""From an address to one that is let in, until a deadline."""


class Files(Protocol):
    """How the files of a catalog's items are opened. Safe for several threads."""

    @property
    def at_a_time(self) -> int:
        """How many of a place to read at a time: waiting for a network is done side by side."""

    def path(self, href: str, deadline: float) -> str:
        """What GDAL opens for the absolute reference of an asset.

        Raises:
            SourceError: The catalog may not point there.
        """


class LocalFiles:
    """The files in a folder.

    Args:
        root: The folder.
    """

    at_a_time = 1

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, href: str, deadline: float) -> str:
        """What GDAL opens, see `Files`."""
        return str(local_file(href, self._root))


class RemoteFiles:
    """The TIFFs at some hosts, read in ranges.

    Args:
        hosts: The hosts.
        buckets: Base URLs of the S3 buckets that references may name.
        sign: Lets an address in; None: files are open to all.
    """

    at_a_time = REMOTE_READS

    def __init__(
        self, hosts: Hosts, buckets: Mapping[str, str] | None = None, sign: Sign | None = None
    ) -> None:
        self._hosts = hosts
        self._buckets = buckets or {}
        self._sign = sign

    def path(self, href: str, deadline: float) -> str:
        """What GDAL opens, see `Files`."""
        url = self._hosts.checked(self._http(href))
        if not url.path.lower().endswith(TIFF_SUFFIXES):
            raise SourceError(f"the file {_last(url.path)} is not a TIFF")
        signed = self._sign(url, deadline) if self._sign is not None else url
        return f"{REMOTE}{signed.copy_with(fragment=None)}"

    def _http(self, href: str) -> httpx.URL:
        bucket, _, key = href.removeprefix("s3://").partition("/")
        if not href.startswith("s3://"):
            return parsed(href)
        if bucket not in self._buckets:
            raise SourceError(f"the files of the S3 bucket {bucket!r} are not open to all")
        return parsed(f"{self._buckets[bucket]}/{key}")


class FilesAnywhere:
    """Files in a folder, and those at some hosts.

    Args:
        local: The former.
        remote: The latter.
    """

    def __init__(self, local: LocalFiles, remote: RemoteFiles) -> None:
        self.at_a_time = remote.at_a_time
        self._local = local
        self._remote = remote

    def path(self, href: str, deadline: float) -> str:
        """What GDAL opens, see `Files`."""
        local = urlparse(href).scheme in ("", "file")
        return (self._local if local else self._remote).path(href, deadline)


def local_file(href: str, root: Path) -> Path:
    """The file of an asset, which has to lie within the catalog's own folder.

    Raises:
        SourceError: It lies elsewhere, is not a TIFF, or is missing. Formats that can point to
            further files (VRT) are refused with everything that is not a TIFF.
    """
    path = inside(href, root, root)
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SourceError(f"the file {path.name} cannot be read") from error
    if magic not in TIFF_MAGIC:
        raise SourceError(f"the file {path.name} is not a TIFF")
    return path


def inside(href: str, base: Path, root: Path) -> Path:
    """The file that a reference means, relative ones from `base`; it has to lie within `root`.

    Raises:
        SourceError: It does not.
    """
    parts = urlparse(href)
    if parts.scheme not in ("", "file"):
        raise SourceError(f"{_last(parts.path)} is not a local file")
    path = (base / (unquote(parts.path) if parts.scheme else href)).resolve()
    if not path.is_relative_to(root):
        raise SourceError(f"the file {path.name} lies outside the catalog's folder")
    return path


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]
