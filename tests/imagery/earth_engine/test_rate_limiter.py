"""The limits that all processes of a machine share."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from geobento.schemas.errors import SourceError
from imagery.earth_engine.rate_limiter import MAX_PAUSE_S, ProcessSharedRateLimiter

WORKER = """
import sys, time
from pathlib import Path
from imagery.earth_engine.rate_limiter import ProcessSharedRateLimiter
limiter = ProcessSharedRateLimiter(Path(sys.argv[1]), 2, 1e6)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    with limiter.acquire(time.monotonic() + 60):
        begin = time.monotonic()
        time.sleep(0.005)
        print(begin, time.monotonic())
"""
CRASHING = """
import os, sys, time
from pathlib import Path
from imagery.earth_engine.rate_limiter import ProcessSharedRateLimiter
with ProcessSharedRateLimiter(Path(sys.argv[1]), 1, 1e6).acquire(time.monotonic() + 60):
    os.abort()
"""


def max_overlap(spans: list[tuple[float, float]]) -> int:
    """How many of the spans overlap at most."""
    changes = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    at_once = [0]
    for _, change in changes:
        at_once.append(at_once[-1] + change)
    return max(at_once)


def test_processes_share_the_slots(tmp_path: Path) -> None:
    """Three processes together never have more than two requests in flight."""
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    lines = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.stdout is not None
        lines += worker.stdout.read().splitlines()
        assert worker.wait() == 0
    spans = [(float(line.split()[0]), float(line.split()[1])) for line in lines]
    assert len(spans) == 60
    assert max_overlap(spans) == 2


def test_threads_share_the_slots(tmp_path: Path) -> None:
    """The same within one process."""
    limiter = ProcessSharedRateLimiter(tmp_path, 3, 1e6)
    spans = []

    def work(_: int) -> None:
        with limiter.acquire(time.monotonic() + 60):
            begin = time.monotonic()
            time.sleep(0.005)
            spans.append((begin, time.monotonic()))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert max_overlap(spans) == 3


def test_a_process_that_dies_gives_its_slot_back(tmp_path: Path) -> None:
    """A crash in the middle of a request leaves nothing locked."""
    process = subprocess.run([sys.executable, "-c", CRASHING, str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGABRT
    with ProcessSharedRateLimiter(tmp_path, 1, 1e6).acquire(time.monotonic() + 1):
        pass


def test_waiting_for_a_slot_ends_at_the_deadline(tmp_path: Path) -> None:
    """The error names the limit and when to come back."""
    limiter = ProcessSharedRateLimiter(tmp_path, 1, 1e6)
    with (
        limiter.acquire(time.monotonic() + 1),
        pytest.raises(SourceError, match="all 1 requests") as caught,
        limiter.acquire(time.monotonic() + 0.1),
    ):
        pass
    assert caught.value.retry_after


def test_requests_are_spaced(tmp_path: Path) -> None:
    """The last of eleven begins no earlier than ten intervals after the first was asked for."""
    limiter = ProcessSharedRateLimiter(tmp_path, 8, 50)
    request = time.time()
    begun = []

    def work(_: int) -> None:
        with limiter.acquire(time.monotonic() + 60):
            begun.append(time.time())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(11)))
    assert max(begun) - request > 9.99 / 50


def test_a_pause_holds_for_all_processes(tmp_path: Path) -> None:
    """A pause that one process sets holds for all; a rejected request frees its slot."""
    ProcessSharedRateLimiter(tmp_path, 1, 1e6).pause(60)
    other = ProcessSharedRateLimiter(tmp_path, 1, 1e6)
    for _ in range(2):
        with (
            pytest.raises(SourceError, match="asked again") as caught,
            other.acquire(time.monotonic() + 1),
        ):
            pass
        assert 50 < (caught.value.retry_after or 0) <= 60


@pytest.mark.parametrize("text", ["", "nonsense", "1", str(time.time() + 9 * MAX_PAUSE_S)])
def test_a_damaged_file_stops_nothing(tmp_path: Path, text: str) -> None:
    """Half-written text, or a time that only a clock set back explains, is as no text."""
    (tmp_path / "turn").write_text(text)
    with ProcessSharedRateLimiter(tmp_path, 1, 10).acquire(time.monotonic() + 1):
        pass


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The error says so without the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="GEOBENTO_DATA_DIR") as caught:
        ProcessSharedRateLimiter(tmp_path / "file" / "deeper", 1, 10)
    assert str(tmp_path) not in caught.value.message
