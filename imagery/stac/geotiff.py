"""Reading GeoTIFFs and nothing else, from disk or in ranges over HTTP."""

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
"""How names begin that GDAL reads in ranges over HTTP."""
MAX_ATTEMPTS = 4
"""Times that a remote file is read until it is given up."""
MAX_REMOTE_READS = 16
"""Remote files that are read at a time, whatever the number of requests."""
MAX_TRACKED_FAILURES = 10_000
"""Files that failed of which a note is kept."""
MAX_READ_S = 30
"""Longest time for one request for a part of a file."""
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
"""Of a remote file, one request for its head, and one for all blocks that lie together."""


_failures: dict[str, int] = {}
_failures_lock = threading.Lock()
_remote_reads = threading.BoundedSemaphore(MAX_REMOTE_READS)
_failure_numbers = itertools.count(1)


def gdal_options(deadline: float) -> dict[str, str]:
    """Settings of GDAL for reads that end at an instant of `time.monotonic`."""
    left = min(max(deadline - time.monotonic(), 1.0), MAX_READ_S)
    return {**GDAL_OPTIONS, "GDAL_HTTP_TIMEOUT": f"{left:.0f}"}


class GeoTiffDriver(RioDriver):
    """How odc-stac opens files: as GeoTIFFs, whatever they look like, until a deadline.

    GDAL chooses the format by the content. Others, such as VRT, can point to any file of this
    machine or any host. Files are not begun after the deadline: that is a `TimeoutError`.

    Args:
        deadline: Instant of `time.monotonic`.
        joint_bands: Bands that are asked for of every file, one by one for the same pixels, and read
            at once. (Where a file holds them pixel by pixel, to read one is to decode all.)
    """

    def __init__(self, deadline: float, joint_bands: Sequence[int] = ()) -> None:
        super().__init__()
        self._deadline = deadline
        self._joint_reads = _JointBandReads(joint_bands) if len(joint_bands) > 1 else None

    def open(self, src: Any, ctx: Any) -> RioReader:
        """A reader of one file."""
        return _GeoTiffReader(src, ctx, self._deadline, self._joint_reads)


class _JointBandReads:
    """Several bands of each file. Safe for several threads."""

    def __init__(self, bands: Sequence[int]) -> None:
        self.bands = list(bands)
        self._lock = threading.Lock()
        self._files: dict[str, Future[Any]] = {}

    def read(self, file: str, band: int, read: Callable[[], Any]) -> Any:
        """Which part of the wanted pixels a file has, and one band of these.

        Args:
            file: Its name.
            band: The band.
            read: All bands, (H, W, C), by the first who comes; others wait.
        """
        with self._lock:
            first = file not in self._files
            result = self._files.setdefault(file, Future())
        if first:
            try:
                result.set_result(read())
            except BaseException as error:
                result.set_exception(error)
        part, pixels = result.result()
        return part, pixels[..., self.bands.index(band)]


class _GeoTiffReader(RioReader):
    def __init__(
        self, src: Any, ctx: Any, deadline: float, joint_reads: _JointBandReads | None
    ) -> None:
        super().__init__(src, ctx)
        self._deadline = deadline
        self._joint_reads = joint_reads

    def read(self, *args: Any, **options: Any) -> Any:
        """Pixels of the file, see `RioReader`."""
        source, together = self._src, self._joint_reads
        if together is None:
            return self._read(source, *args, **options)
        chosen = {**options, "selection": together.bands}
        all_bands = partial(self._read, replace(source, band=0), *args, **chosen)
        return together.read(source.uri, source.band, all_bands)

    def _read(self, source: Any, *args: Any, **options: Any) -> Any:
        """GDAL tries again what a server refuses, and no answer that is cut off or damaged."""
        import rasterio

        file = source.uri
        for attempt in range(MAX_ATTEMPTS):
            with _read_slot(file, self._deadline):
                name = _uncached_name(file)
                try:
                    # What this opens is still at hand when the library opens it again.
                    with rasterio.open(name, driver="GTiff", sharing=False):
                        pass
                    found = replace(source, uri=name)
                    return RioReader(found, self._ctx).read(*args, **options)
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
    """Wait until a file may be read.

    Raises:
        TimeoutError: It may not before the deadline.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if not file.startswith(VSICURL_PREFIX):
        yield
        return
    if not _remote_reads.acquire(timeout=left):
        raise TimeoutError
    try:
        yield
    finally:
        _remote_reads.release()


def _uncached_name(file: str) -> str:
    """A name under which GDAL knows nothing of a file that it failed to read.

    It remembers for good, by the name, that a file is not there, and what it got of it. Servers
    do not see what follows the hash sign.
    """
    count = _failures.get(file.partition("?")[0], 0)
    return f"{file}#{count}" if count else file


def _record_failure(file: str) -> None:
    with _failures_lock:
        if len(_failures) >= MAX_TRACKED_FAILURES:
            _failures.clear()
        name = file.partition("?")[0]
        # Not counted from 0, so that a name that was forgotten does not come again.
        _failures[name] = next(_failure_numbers)


def _strip_query(record: logging.LogRecord) -> bool:
    """Take what follows a question mark out of a message; it may let others in."""
    record.msg, record.args = record.getMessage().partition("?")[0], None
    return True


for _name in ("odc.loader._rio", "rasterio._env"):
    logging.getLogger(_name).addFilter(_strip_query)
