"""Reading GeoTIFFs, and no other format, from disk or with HTTP range requests."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import sleep
from typing import Any

from odc.loader import RioDriver, RioReader

from geobento.backoff import backoff_s

VSICURL_PREFIX = "/vsicurl/"
"""GDAL's prefix of files read over HTTP."""
MAX_ATTEMPTS = 4
"""Attempts to read a remote file."""
MAX_REMOTE_READS = 16
"""Maximum number of concurrent remote reads of the process."""
MAX_TRACKED_FAILURES = 10_000
"""Maximum number of failed files to remember."""
MAX_READ_S = 30
"""Timeout of one range request, seconds."""
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_NUM_THREADS": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
    "GDAL_HTTP_LOW_SPEED_TIME": "8",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "CPL_VSIL_CURL_CACHE_SIZE": "128000000",
}
"""One request reads the header of a remote file; adjacent blocks are merged into one request."""


_failures: dict[str, int] = {}
_failures_lock = threading.Lock()
_remote_reads = threading.BoundedSemaphore(MAX_REMOTE_READS)
_failure_numbers = itertools.count(1)


def gdal_options(deadline: float) -> dict[str, str]:
    """GDAL options for reads that end at a deadline, an instant of `time.monotonic`."""
    timeout = min(max(deadline - time.monotonic(), 1.0), MAX_READ_S)
    return {**GDAL_OPTIONS, "GDAL_HTTP_TIMEOUT": f"{timeout:.0f}"}


class GeoTiffDriver(RioDriver):
    """A driver for odc-stac that opens every file as a GeoTIFF, until a deadline.

    GDAL otherwise detects the format by content. Formats such as VRT can refer to any local file
    or host. A read that would start after the deadline raises `TimeoutError`.

    Args:
        deadline: Instant of `time.monotonic`.
        joint_bands: Band numbers that odc-stac requests one by one from every file. They are read
            together, since decoding one band of a pixel-interleaved file decodes all.
    """

    def __init__(self, deadline: float, joint_bands: Sequence[int] = ()) -> None:
        super().__init__()
        self._deadline = deadline
        self._joint_reads = _JointBandReads(joint_bands) if len(joint_bands) > 1 else None

    def open(self, src: Any, ctx: Any) -> RioReader:
        """A reader of one file, see `RioDriver`."""
        return _GeoTiffReader(src, ctx, self._deadline, self._joint_reads)


class _JointBandReads:
    """Joint reads of several bands per file. Thread-safe."""

    def __init__(self, bands: Sequence[int]) -> None:
        self.bands = list(bands)
        self._lock = threading.Lock()
        self._files: dict[str, Future[Any]] = {}

    def read(self, file: str, band: int, read: Callable[[], Any]) -> Any:
        """The region of interest that a file covers, and the pixels of one band.

        Args:
            file: GDAL file name.
            band: Band number.
            read: Reads all bands (H, W, C). The first caller runs it; others wait.
        """
        with self._lock:
            first = file not in self._files
            result = self._files.setdefault(file, Future())
        if first:
            try:
                result.set_result(read())
            except BaseException as error:
                result.set_exception(error)
        roi, pixels = result.result()
        return roi, pixels[..., self.bands.index(band)]


class _GeoTiffReader(RioReader):
    def __init__(
        self, src: Any, ctx: Any, deadline: float, joint_reads: _JointBandReads | None
    ) -> None:
        super().__init__(src, ctx)
        self._deadline = deadline
        self._joint_reads = joint_reads

    def read(self, *args: Any, **options: Any) -> Any:
        """Read pixels of the file, see `RioReader`."""
        source, joint_reads = self._src, self._joint_reads
        if joint_reads is None:
            return self._read(source, *args, **options)
        selection = {**options, "selection": joint_reads.bands}
        all_bands = partial(self._read, replace(source, band=0), *args, **selection)
        return joint_reads.read(source.uri, source.band, all_bands)

    def _read(self, source: Any, *args: Any, **options: Any) -> Any:
        """Read with retries. GDAL retries error responses, but not truncated or damaged ones."""
        import rasterio

        file = source.uri
        for attempt in range(MAX_ATTEMPTS):
            with _read_slot(file, self._deadline):
                name = _uncached_name(file)
                try:
                    # GDAL still has the header cached when odc-loader opens the file again.
                    with rasterio.open(name, driver="GTiff", sharing=False):
                        pass
                    renamed = replace(source, uri=name)
                    return RioReader(renamed, self._ctx).read(*args, **options)
                except Exception:
                    if not file.startswith(VSICURL_PREFIX):
                        raise
                    _record_failure(file)
                    if attempt == MAX_ATTEMPTS - 1:
                        raise
            sleep(backoff_s(attempt, None, random.random()))
        raise AssertionError("the last attempt returns or raises")


@contextmanager
def _read_slot(file: str, deadline: float) -> Iterator[None]:
    """Hold a slot for reading a file.

    Raises:
        TimeoutError: No slot was free before the deadline.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    if not file.startswith(VSICURL_PREFIX):
        yield
        return
    if not _remote_reads.acquire(timeout=remaining):
        raise TimeoutError
    try:
        yield
    finally:
        _remote_reads.release()


def _uncached_name(file: str) -> str:
    """A name of a file under which GDAL has no cached failure.

    GDAL caches by name, without expiry, that a file is missing, and damaged content. Servers do not
    see the fragment after the hash sign.
    """
    count = _failures.get(file.partition("?")[0], 0)
    return f"{file}#{count}" if count else file


def _record_failure(file: str) -> None:
    with _failures_lock:
        if len(_failures) >= MAX_TRACKED_FAILURES:
            _failures.clear()
        name = file.partition("?")[0]
        # A global counter, so that a name is never reused after the table was cleared.
        _failures[name] = next(_failure_numbers)


def _strip_query(record: logging.LogRecord) -> bool:
    """Remove URL query strings from log messages; they may contain access tokens."""
    record.msg, record.args = record.getMessage().partition("?")[0], None
    return True


for _name in ("odc.loader._rio", "rasterio._env"):
    logging.getLogger(_name).addFilter(_strip_query)
