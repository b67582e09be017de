"""A directory of cached patches, bounded in size, shared by several processes."""

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
"""Names of the files that this module writes. It removes no others."""
ABANDONED_AFTER_S = 3600.0
"""An older partial file was left by a process that died."""
EVICTION_FRACTION = 1 / 16
"""Fraction of the bound freed per eviction, so that not every write lists the directory."""
POLL_S = 0.02
LOCK_KEY_DIGITS = 15
"""Digits of a key that fit into the file offset of a lock."""


@dataclass(frozen=True)
class CacheFile:
    """A file of the cache directory.

    Attributes:
        last_used: Time of the last read or write, Unix seconds.
        size: Bytes.
        path: Path.
    """

    last_used: float
    size: int
    path: Path

    @property
    def is_complete(self) -> bool:
        """Whether this is an entry, not a partial file."""
        return self.path.suffix == PATCH_SUFFIX

    @property
    def is_abandoned(self) -> bool:
        """Whether this is a partial file of a dead process."""
        return not self.is_complete and time.time() - self.last_used > ABANDONED_AFTER_S


class PatchStore:
    """Entries by key, one file each. Safe for several threads and processes.

    Writes are atomic, and every read checks the digest, so leftovers of a crash or a full disk
    never pass for an entry. An unusable directory behaves like an empty cache; the log says so
    once.

    Keys are locked by byte ranges of one file (`fcntl.lockf`). The kernel frees them when a process
    dies, and any number of keys needs no more than that one file.

    Args:
        folder: Directory of the files, created on the first write. Other files in it are kept.
        max_bytes: Bound of the total size. The least recently used entries are evicted first.
            Each process may exceed the bound by a sixteenth.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._bytes_until_scan = 0
        """Bytes to write before the directory is listed again."""
        self._thread_lock = Lock()
        self._warned = False

    def read(self, key: str) -> CacheEntry | None:
        """The entry of a key; None if there is none, or if it is damaged or expired."""
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
        """Store or replace the entry of a key. Failures are logged, not raised."""
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
        """Hold the lock of a key. The kernel releases it if the process dies.

        The lock excludes other processes, not threads of this one. Where files cannot be locked,
        there is no exclusion.

        Args:
            key: Key to lock.
            deadline: Instant of `time.monotonic` until which to wait.

        Raises:
            WaitTimeout: Another process held the lock until the deadline.
        """
        offset = int(key[:LOCK_KEY_DIGITS], 16)
        file = self._acquire_lock(offset, deadline)
        try:
            yield
        finally:
            if file is not None:
                fcntl.lockf(file, fcntl.LOCK_UN, 1, offset)

    def list_files(self) -> list[CacheFile]:
        """The files of the cache, least recently used first.

        Raises:
            OSError: The directory cannot be listed.
        """
        files = []
        try:
            with os.scandir(self._folder) as listing:
                for entry in listing:
                    if _CACHE_FILE_NAME.fullmatch(entry.name) and entry.is_file(
                        follow_symlinks=False
                    ):
                        with suppress(FileNotFoundError):
                            stat = entry.stat(follow_symlinks=False)
                            files.append(CacheFile(stat.st_mtime, stat.st_size, Path(entry.path)))
        except FileNotFoundError:
            return []
        return sorted(files, key=lambda file: (file.last_used, file.path))

    def clear(self) -> tuple[int, int]:
        """Remove all entries.

        Returns:
            The number of entries and the bytes removed.

        Raises:
            OSError: A file cannot be removed.
        """
        removed = [file for file in self.list_files() if file.is_complete or file.is_abandoned]
        for file in removed:
            file.path.unlink(missing_ok=True)
        return sum(file.is_complete for file in removed), sum(file.size for file in removed)

    def _acquire_lock(self, offset: int, deadline: float) -> BufferedRandom | None:
        """The lock file, with the range at `offset` locked; None where files cannot be locked."""
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
        """Open as long as this object: closing it would release all locks of the process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return (self._folder / "locks").open("a+b")

    def _write(self, path: Path, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(PARTIAL_SUFFIX, dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            Path(name).replace(path)
        except BaseException:
            _remove(Path(name))
            raise

    def _evict(self, size: int) -> None:
        """Evict least recently used entries until `size` more bytes fit into the bound."""
        with self._thread_lock:
            self._bytes_until_scan -= size
            if self._bytes_until_scan >= 0:
                return
            files = self.list_files()
            total = size + sum(file.size for file in files)
            goal = (
                self._max_bytes
                if total <= self._max_bytes
                else int(self._max_bytes * (1 - EVICTION_FRACTION))
            )
            for file in files:
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
