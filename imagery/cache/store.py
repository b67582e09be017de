"""A folder of patches, bounded in size, that several processes may use at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from io import BufferedRandom
from pathlib import Path
from threading import Lock

from imagery.cache import codec
from imagery.cache.codec import CacheEntry, CorruptEntry, NotSerializable
from imagery.cache.single_flight import WaitTimeout

logger = logging.getLogger("geobento.cache")

PATCH_SUFFIX, PARTIAL_SUFFIX = ".patch", ".part"
_CACHE_FILE_NAME = re.compile(r"[0-9a-f]{64}\.patch|tmp\w+\.part")
"""Names of the files that this module writes, and the only ones that it removes."""
ABANDONED_AFTER_S = 3600.0
"""An unfinished file older than this is of a process that ended in the middle."""
EVICTION_FRACTION = 1 / 16
"""Part of the bound that is freed at a time, so that the folder need not be listed every time."""
POLL_S = 0.02
LOCK_KEY_DIGITS = 15
"""Of a key, what fits into the offset of a lock in a file."""


@dataclass(frozen=True)
class CacheFile:
    """A file of the folder.

    Attributes:
        last_used: When it was last written or read, seconds since the epoch.
        size: Bytes.
        path: Where it lies.
    """

    last_used: float
    size: int
    path: Path

    @property
    def is_complete(self) -> bool:
        """Whether it is an entry, and not one that is being written."""
        return self.path.suffix == PATCH_SUFFIX

    @property
    def is_abandoned(self) -> bool:
        """Whether its writer ended in the middle."""
        return not self.is_complete and time.time() - self.last_used > ABANDONED_AFTER_S


class PatchStore:
    """Entries by key, one file each. Safe for several threads and processes.

    A file appears under its name when it is complete, and its digest is checked whenever it is
    read: what a crash or a full disk leaves is never taken for an entry. A folder that cannot be
    written or read is a cache that holds nothing; the log says so once.

    Args:
        folder: Where files lie; made when first written to. Other files in it are left alone.
        max_bytes: Bound of their size together. Those that were not used for longest go first.
            Of several processes each may exceed it by a sixteenth.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._bytes_until_scan = 0
        """Bytes that may be written before the folder has to be listed again."""
        self._thread_lock = Lock()
        self._warned = False

    def read(self, key: str) -> CacheEntry | None:
        """The entry of a key, if it has one that is whole and has not expired."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn_once(error)
            return None
        try:
            entry = codec.decode(data, key)
        except CorruptEntry as error:
            logger.warning("a cached patch was damaged and is removed: %s", error)
            _remove(path)
            return None
        if entry.expires_at is not None and entry.expires_at <= datetime.now(UTC):
            return None
        with suppress(OSError):
            os.utime(path)
        return entry

    def write(self, key: str, entry: CacheEntry) -> None:
        """Keep an entry, in place of what the key had, if it can be kept."""
        try:
            data = codec.encode(entry, key)
        except NotSerializable as error:
            logger.warning("a patch is not cached: %s", error)
            return
        if len(data) > self._max_bytes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._evict(len(data))
            self._write(self._path(key), data)
        except OSError as error:
            self._warn_once(error)

    @contextmanager
    def lock(self, key: str, deadline: float) -> Iterator[None]:
        """Be the only process that fetches for a key. The kernel ends it with the process.

        Threads of one process do not exclude each other. Where files cannot be locked nobody
        waits.

        Args:
            key: For what.
            deadline: Instant of `time.monotonic` after which waiting is in vain.

        Raises:
            TooLate: Another process was not done by then.
        """
        offset = int(key[:LOCK_KEY_DIGITS], 16)
        file = self._acquire_lock(offset, deadline)
        try:
            yield
        finally:
            if file is not None:
                fcntl.lockf(file, fcntl.LOCK_UN, 1, offset)

    def list_files(self) -> list[CacheFile]:
        """Its files, the one that was not used for longest first.

        Raises:
            OSError: The folder cannot be listed.
        """
        found = []
        try:
            with os.scandir(self._folder) as listing:
                for file in listing:
                    if _CACHE_FILE_NAME.fullmatch(file.name) and file.is_file(
                        follow_symlinks=False
                    ):
                        with suppress(FileNotFoundError):
                            stat = file.stat(follow_symlinks=False)
                            found.append(CacheFile(stat.st_mtime, stat.st_size, Path(file.path)))
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda held: (held.last_used, held.path))

    def clear(self) -> tuple[int, int]:
        """Remove all entries; returns how many there were and their bytes.

        Raises:
            OSError: They cannot be removed.
        """
        removed = [file for file in self.list_files() if file.is_complete or file.is_abandoned]
        for file in removed:
            file.path.unlink(missing_ok=True)
        return sum(file.is_complete for file in removed), sum(file.size for file in removed)

    def _acquire_lock(self, offset: int, deadline: float) -> BufferedRandom | None:
        """The file of locks once this one is held; None: there are no locks here."""
        try:
            with self._thread_lock:
                file = self._lock_file
            while not _try_lock(file, offset):
                if time.monotonic() + POLL_S >= deadline:
                    raise WaitTimeout
                time.sleep(POLL_S)
        except OSError as error:
            self._warn_once(error)
            return None
        return file

    def _path(self, key: str) -> Path:
        return self._folder / (key + PATCH_SUFFIX)

    @cached_property
    def _lock_file(self) -> BufferedRandom:
        """Open as long as this object: to close it would end all locks that the process has."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return (self._folder / "locks").open("a+b")

    def _write(self, path: Path, data: bytes) -> None:
        number, name = tempfile.mkstemp(PARTIAL_SUFFIX, dir=self._folder)
        try:
            with os.fdopen(number, "wb") as stream:
                stream.write(data)
            Path(name).replace(path)
        except BaseException:
            _remove(Path(name))
            raise

    def _evict(self, size: int) -> None:
        """Remove what was not used for longest, until so many bytes more are within the bound."""
        with self._thread_lock:
            self._bytes_until_scan -= size
            if self._bytes_until_scan >= 0:
                return
            held = self.list_files()
            total = size + sum(file.size for file in held)
            goal = (
                self._max_bytes
                if total <= self._max_bytes
                else int(self._max_bytes * (1 - EVICTION_FRACTION))
            )
            for file in held:
                if (file.is_complete and total > goal) or file.is_abandoned:
                    _remove(file.path)
                    total -= file.size
            self._bytes_until_scan = min(
                self._max_bytes - total, int(self._max_bytes * EVICTION_FRACTION)
            )

    def _warn_once(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            reason = os.strerror(error.errno or 0)
            logger.warning("the cache of patches cannot be used (%s); going on without", reason)


def _try_lock(file: BufferedRandom, offset: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
