"""Servers as subprocesses, with their CPU time and memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 300
MEMORY_POLL_S = 2.0
"""Interval of memory measurements. One stops a large process for tens of milliseconds, which would
show in latencies."""


class RunningServer:
    """A running server.

    Args:
        port: Its port.
        process: Its first process.
    """

    def __init__(self, port: int, process: psutil.Process) -> None:
        self.port = port
        self._process = process

    def cpu_s(self) -> float:
        """CPU time of all its processes so far, seconds."""
        return sum(p.cpu_times().user + p.cpu_times().system for p in self._processes())

    def memory_mib(self) -> int:
        """Memory of all its processes, mebibytes; shared memory counts once."""
        return sum(p.memory_full_info().pss for p in self._processes()) >> 20

    @contextmanager
    def peak_memory_mib(self, interval_s: float = MEMORY_POLL_S) -> Iterator[Callable[[], int]]:
        """Context manager: gives a function for the peak memory since its start, mebibytes."""
        samples = [self.memory_mib()]
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(interval_s):
                with suppress(psutil.Error):  # a process that has just ended
                    samples.append(self.memory_mib())

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield lambda: max(samples)
        finally:
            ended.set()
            watching.join()

    def is_ready(self, path: str = "/readyz") -> bool:
        """Whether its readiness probe succeeds."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def worker(self, prefix: str) -> psutil.Process:
        """A process of the service by the beginning of its name: `geobento`, `runner_` ..."""
        for process in self._process.children():
            words = process.cmdline()
            if "--service-name" in words:
                name = words[words.index("--service-name") + 1]
                if name.startswith(prefix):
                    return process
        raise LookupError(prefix)

    def stop(self, timeout_s: float) -> int | None:
        """Stop it; returns the exit status."""
        self._process.terminate()
        status: int | None = self._process.wait(timeout_s)
        return status

    def _processes(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


@contextmanager
def run_server(
    command: Sequence[str | Path],
    port: int,
    ready_path: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
) -> Iterator[RunningServer]:
    """Start a server, wait until it is ready, stop it with everything that it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}{ready_path}", process, log)
        yield RunningServer(port, psutil.Process(process.pid))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):  # processes that a server leaves behind
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def run_geobento(log: Path, **environment: str) -> Iterator[RunningServer]:
    """This service, with settings."""
    with run_checkout(ROOT, log, environment) as served:
        yield served


@contextmanager
def run_checkout(
    folder: Path, log: Path, environment: Mapping[str, str]
) -> Iterator[RunningServer]:
    """The service of a checkout.

    Args:
        folder: Root of the checkout.
        log: Its output.
        environment: Added to the environment of this process.
    """
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "--port", str(port)]
    with run_server(command, port, "/readyz", log, environment, folder) as served:
        yield served


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the server did not become ready:\n{log.read_text()[-3000:]}")
