"""How much is asked of a provider at a time, by all processes of a machine together."""

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
"""What to tell a client where nobody knows when a slot becomes free."""
MAX_PAUSE_S = 120.0
"""A turn further away than this is left over from a clock that was set back."""


class ProcessSharedRateLimiter:
    """At most so many requests in flight, and so many per second.

    The slots are locks on files: the kernel frees them when a process ends, however it ends. All
    processes that use the same folder share the limits. Safe for several threads.

    Args:
        folder: Where the lock files lie; made if it is not there.
        max_concurrency: Most requests at a time.
        max_qps: Most requests that begin in a second.
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
        """Hold one of the slots, from when it is this request's turn.

        Args:
            deadline: Instant of `time.monotonic` after which waiting is in vain.

        Raises:
            SourceError: There was no turn before the deadline.
        """
        slot = self._acquire_slot(deadline)
        try:
            self._wait_for_start(deadline)
            yield
        finally:
            os.close(slot)

    def pause(self, seconds: float) -> None:
        """Let no request begin for a while, because the provider asked for it."""
        pause = min(seconds, MAX_PAUSE_S)
        self._update_next_start(lambda turn, now: max(turn, now + pause))

    def _acquire_slot(self, deadline: float) -> int:
        """A file descriptor that holds the lock of a slot; closing it frees the slot."""
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
                    f"all {self._max_concurrency} requests to Earth Engine that may be in flight at a "
                    "time were taken for as long as a request may wait",
                    retry_after=DEFAULT_RETRY_AFTER_S,
                )
            time.sleep(POLL_S)

    def _wait_for_start(self, deadline: float) -> None:
        def take(turn: float, now: float) -> float:
            if time.monotonic() + turn - now >= deadline:
                raise SourceError(
                    "Earth Engine may not be asked again within the time of this request, by its "
                    f"own word or by this service's limit of {1 / self._interval_s:g} requests "
                    "per second",
                    retry_after=turn - now,
                )
            return turn + self._interval_s

        turn, now = self._update_next_start(take)
        time.sleep(turn - now)

    def _update_next_start(self, update: Callable[[float, float], float]) -> tuple[float, float]:
        """Change when the next request may begin; returns when it could before, and now."""
        file = self._open("turn")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            now = time.time()
            try:
                turn = max(float(os.pread(file, 64, 0)), now)
            except ValueError:
                turn = now
            if turn > now + MAX_PAUSE_S:
                turn = now
            text = f"{update(turn, now):.6f}".encode()
            os.ftruncate(file, 0)
            os.pwrite(file, text, 0)
            return turn, now
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
