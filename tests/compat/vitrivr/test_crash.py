"""Jobs outlive the process that accepted them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.compat.vitrivr_service import image, result, vector
from tests.conftest import ROOT
from tests.servers import free_port

pytestmark = pytest.mark.slow


@contextmanager
def process(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A service as a process; killed at the end if it still lives."""
    command = [sys.executable, "-m", "tests.compat.vitrivr_service", str(home), str(port)]
    started = subprocess.Popen(command, cwd=ROOT)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def service(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """A process that answers."""
    port = free_port()
    with (
        process(home, port) as started,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=30) as client,
    ):
        _wait(client, started)
        yield started, client


def _wait(client: httpx.Client, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and started.poll() is None:
        try:
            client.get("/tasks")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the service did not start")


def accepted(client: httpx.Client, content: bytes) -> str:
    """A new job with an image; the path of its result."""
    answer = client.post("/tasks/image-embedding/mosaiks/jobs", json={"image": image(content)})
    assert answer.status_code == 200, answer.text
    return f"/tasks/image-embedding/jobs/{answer.json()['id']}"


def test_kill_minus_nine(tmp_path: Path) -> None:
    """Of twenty accepted jobs none is lost when the process is killed: all end with the next."""
    contents = [b"slow %d" % n for n in range(18)] + [b"bad 1", b"bad 2"]
    with service(tmp_path) as (first, client):
        paths = [accepted(client, content) for content in contents]
        time.sleep(0.1)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    with service(tmp_path) as (_, client):
        for path, content in zip(paths, contents, strict=True):
            output = result(client, path)
            if content.startswith(b"bad"):
                assert output == {"status": "failed", "detail": "this is not an image"}
            else:
                assert output == {"status": "complete", "result": {"embedding": vector(content)}}


def test_a_job_that_kills(tmp_path: Path) -> None:
    """It is tried three times and has failed then; the jobs around it are done."""
    contents = [b"slow 1", b"slow 2", b"slow deadly", b"slow 3", b"two"]
    with service(tmp_path) as (first, client):
        paths = [accepted(client, content) for content in contents]
        assert first.wait(20) == -signal.SIGKILL
    for _ in range(2):
        with process(tmp_path, free_port()) as again:
            assert again.wait(60) == -signal.SIGKILL
    with service(tmp_path) as (_, client):
        for path, content in zip(paths, contents, strict=True):
            output = result(client, path)
            if content == b"slow deadly":
                assert "3 times" in output["detail"]
            else:
                assert output == {"status": "complete", "result": {"embedding": vector(content)}}
