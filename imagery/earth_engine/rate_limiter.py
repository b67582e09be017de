"""A limiter of concurrency and request rate, shared by all processes of a machine."""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from geobento.schemas.errors import SourceError

POLL_S = 0.02
DEFAULT_RETRY_AFTER_S = 5.0
"""``Retry-After`` for clients when all slots are taken."""
MAX_PAUSE_S = 120.0
"""A start time further ahead is left over from a clock that was set back."""


class ProcessSharedRateLimiter:
    """Bounds the concurrent requests and the requests per second. Thread-safe.

    All processes that use the same directory share the limits. Slots are file locks
    (`fcntl.flock`), which the kernel frees when a process dies.

    Args:
        folder: Directory of the lock files, created if absent.
        max_concurrency: Maximum number of concurrent requests.
        max_qps: Maximum number of requests started per second.
    """

    def __init__(self, folder: Path, max_concurrency: int, max_qps: float) -> None:
        self._folder = folder
        self._max_concurrency = max_concurrency
        self._interval_s = 1 / max_qps
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _lock_error(error) from error

    @contextmanager
    def acquire(self, deadline: float) -> Iterator[None]:
        """Hold a slot from the time at which the request may start.

        Args:
            deadline: Instant of `time.monotonic` until which to wait.

        Raises:
            SourceError: The request may not start before the deadline.
        """
        slot = self._acquire_slot(deadline)
        try:
            self._wait_for_start(deadline)
            yield
        finally:
            os.close(slot)

    def pause(self, seconds: float) -> None:
        """Delay all further requests, as the provider asked."""
        pause = min(seconds, MAX_PAUSE_S)
        self._update_next_start(lambda next_start, now: max(next_start, now + pause))

    def _acquire_slot(self, deadline: float) -> int:
        """A file descriptor that holds a slot; closing it frees the slot."""
        while True:
            first = random.randrange(self._max_concurrency)
            for number in range(self._max_concurrency):
                slot = self._open(f"slot-{(first + number) % self._max_concurrency}")
                try:
                    fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return slot
                except BlockingIOError:
                    os.close(slot)
                except OSError as error:
                    os.close(slot)
                    raise _lock_error(error) from error
            if time.monotonic() + POLL_S >= deadline:
                raise SourceError(
                    f"all {self._max_concurrency} requests to Earth Engine that may be in flight "
                    "at a time were taken for as long as a request may wait",
                    retry_after=DEFAULT_RETRY_AFTER_S,
                )
            time.sleep(POLL_S)

    def _wait_for_start(self, deadline: float) -> None:
        def reserve(next_start: float, now: float) -> float:
            if time.monotonic() + next_start - now >= deadline:
                raise SourceError(
                    "Earth Engine may not be asked again within the time of this request, by its "
                    f"own word or by this service's limit of {1 / self._interval_s:g} requests "
                    "per second",
                    retry_after=next_start - now,
                )
            return next_start + self._interval_s

        next_start, now = self._update_next_start(reserve)
        time.sleep(next_start - now)

    def _update_next_start(self, update: Callable[[float, float], float]) -> tuple[float, float]:
        """Update the shared start time of the next request.

        Args:
            update: New start time, from the current start time and now (Unix seconds).

        Returns:
            The start time before the update, and now.
        """
        file = self._open("turn")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            now = time.time()
            try:
                next_start = max(float(os.pread(file, 64, 0)), now)
            except ValueError:
                next_start = now
            if next_start > now + MAX_PAUSE_S:
                next_start = now
            text = f"{update(next_start, now):.6f}".encode()
            os.ftruncate(file, 0)
            os.pwrite(file, text, 0)
            return next_start, now
        except OSError as error:
            raise _lock_error(error) from error
        finally:
            os.close(file)

    def _open(self, name: str) -> int:
        try:
            return os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _lock_error(error) from error


def _lock_error(error: OSError) -> SourceError:
    reason = os.strerror(error.errno or 0)
    return SourceError(f"GEOBENTO_DATA_DIR cannot hold the lock files of Earth Engine ({reason})")
