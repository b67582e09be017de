"""Reading GeoTIFFs and nothing else, from disk or in ranges over HTTP."""

from __future__ import annotations

import logging
import time
from typing import Any

from odc.loader import RioDriver, RioReader

LONGEST_READ_S = 30
"""Longest time for one request for a part of a file."""
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_NUM_THREADS": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
    "GDAL_HTTP_LOW_SPEED_TIME": "8",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "CPL_VSIL_CURL_CACHE_SIZE": "128000000",
}
"""Of a remote file, one request for its head, and one for all blocks that lie together."""


def options(deadline: float) -> dict[str, str]:
    """Settings of GDAL for reads that end at an instant of `time.monotonic`."""
    left = min(max(deadline - time.monotonic(), 1.0), LONGEST_READ_S)
    return {**GDAL_OPTIONS, "GDAL_HTTP_TIMEOUT": f"{left:.0f}"}


class GeoTiffDriver(RioDriver):
    """How odc-stac opens files: as GeoTIFFs, whatever they look like, until a deadline.

    GDAL chooses the format by the content. Others, such as VRT, can point to any file of this
    machine or any host. Files are not begun after the deadline: that is a `TimeoutError`.

    Args:
        deadline: Instant of `time.monotonic`.
    """

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def open(self, src: Any, ctx: Any) -> RioReader:
        """A reader of one file."""
        return _Reader(src, ctx, self._deadline)


class _Reader(RioReader):
    def __init__(self, src: Any, ctx: Any, deadline: float) -> None:
        super().__init__(src, ctx)
        self._deadline = deadline

    def read(self, *given: Any, **options: Any) -> Any:
        """Pixels of the file, see `RioReader`."""
        import rasterio

        if time.monotonic() > self._deadline:
            raise TimeoutError
        # What this opens is still at hand when the library opens it again.
        with rasterio.open(self._src.uri, driver="GTiff", sharing=False):
            pass
        return super().read(*given, **options)


def _without_query(record: logging.LogRecord) -> bool:
    """Take what follows a question mark out of a message; it may let others in."""
    record.msg, record.args = record.getMessage().partition("?")[0], None
    return True


for _name in ("odc.loader._rio", "rasterio._env"):
    logging.getLogger(_name).addFilter(_without_query)
