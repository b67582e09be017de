"""The service under kills, overload, silence and a signal to stop: the real processes."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks import load, load_fixtures, verify
from benchmarks.kill import kill_under_load
from benchmarks.service import RunningServer, run_geobento

pytestmark = pytest.mark.slow

IN_FLIGHT = 8


@pytest.fixture(scope="module")
def workload() -> tuple[str, list[bytes], load.Verify]:
    """Model tag, request bodies, and the check of their answers."""
    return load_fixtures.prepare_load("mosaiks")


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, workload: tuple[str, list[bytes], load.Verify]
) -> Iterator[RunningServer]:
    """The service with few concurrent requests, started as in a container."""
    log = tmp_path_factory.mktemp("strain") / "log"
    with run_geobento(
        log,
        GEOBENTO_MODELS=workload[0],
        GEOBENTO_MAX_CONCURRENT_REQUESTS=str(IN_FLIGHT),
        GEOBENTO_LOG_FORMAT="json",
        BENTOML_CONTAINERIZED="true",
    ) as started:
        yield started


def metric(served: RunningServer, name: str) -> float:
    """The sum of a metric over its labels."""
    text = httpx.get(f"http://127.0.0.1:{served.port}/metrics").text
    lines = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return sum(float(value) for value in lines)


def test_overload_is_refused_and_the_rest_answered(
    served: RunningServer, workload: tuple[str, list[bytes], load.Verify]
) -> None:
    """Ten times as many connections as request slots: right answers, and refusals that say when."""
    _, requests, judge = workload
    run = load.run(served.port, requests, 10 * IN_FLIGHT, 4, verify=judge, pause_s=0.2)
    outcomes = asyncio.run(run).outcomes
    assert set(outcomes) == {verify.OK, verify.REJECTED}
    assert metric(served, "geobento_errors_total") >= outcomes[verify.REJECTED]
    assert metric(served, "geobento_items_total") >= outcomes[verify.OK]
    assert metric(served, "geobento_stage_seconds_count") > 0
    assert metric(served, "geobento_batch_items_count") > 0
    assert metric(served, "geobento_model_info") == 1


def test_disconnected_clients_hold_no_slot(
    served: RunningServer, workload: tuple[str, list[bytes], load.Verify]
) -> None:
    """After many of them nothing is in flight, queued or pending."""
    _, requests, judge = workload
    for _ in range(3 * IN_FLIGHT):
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            client.sendall(requests[0])
            time.sleep(0.01)
    end = time.monotonic() + 30
    while metric(served, "geobento_requests_in_flight") and time.monotonic() < end:
        time.sleep(0.1)
    held = ("geobento_requests_in_flight", "geobento_queue_depth", "geobento_pending_bytes")
    assert [metric(served, name) for name in held] == [0, 0, 0]
    assert metric(served, "geobento_abandoned_requests_total") > 0
    run = load.run(served.port, requests, IN_FLIGHT, 1, verify=judge)
    assert set(asyncio.run(run).outcomes) == {verify.OK}


def test_silence_costs_no_request(
    served: RunningServer, workload: tuple[str, list[bytes], load.Verify]
) -> None:
    """Connections to the runner that were closed meanwhile are not noticed by any client."""
    _, requests, judge = workload
    for pause in (4.9, 5.0, 5.1, 0):
        run = load.run(served.port, requests, IN_FLIGHT, 0.5, verify=judge)
        assert set(asyncio.run(run).outcomes) == {verify.OK}
        time.sleep(pause)


def test_a_killed_runner_comes_back(
    served: RunningServer, workload: tuple[str, list[bytes], load.Verify]
) -> None:
    """Its requests are answered or rejected with `Retry-After`; none is wrong or hangs."""
    for _ in range(2):
        row = kill_under_load(served, workload[1], workload[2], IN_FLIGHT, "runner_")
        assert row["ready_s"] is not None
        assert row["not_ready_seen"]
        assert set(row) - {"victim", "ready_s", "not_ready_seen", "slowest_s"} <= {
            verify.OK,
            verify.REJECTED,
        }
        assert row[verify.OK] > 0


def test_a_killed_api_server_comes_back(
    served: RunningServer, workload: tuple[str, list[bytes], load.Verify]
) -> None:
    """Its connections are lost; then answers are right, and its gauges are gone."""
    row = kill_under_load(served, workload[1], workload[2], 4, "geobento")
    assert row["ready_s"] is not None
    assert not {"wrong", "hung"} & set(row)
    assert metric(served, "geobento_requests_in_flight") == 0


def test_a_signal_to_stop_lets_requests_finish(
    tmp_path: Path, workload: tuple[str, list[bytes], load.Verify]
) -> None:
    """Requests that have begun are answered, by a runner that still runs; then the service ends."""
    tag, requests, judge = workload
    log = tmp_path / "log"
    with run_geobento(log, GEOBENTO_MODELS=tag, GEOBENTO_LOG_FORMAT="json") as served:
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            client.settimeout(60)
            client.sendall(requests[0][:-100])
            time.sleep(1)
            status: list[int | None] = []
            stopping = threading.Thread(target=lambda: status.append(served.stop(60)))
            stopping.start()
            time.sleep(3)
            client.sendall(requests[0][-100:])
            answer = b""
            while received := client.recv(65536):
                answer += received
        stopping.join()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert judge(0, int(head[9:12]), head, body) == verify.OK
    assert status == [0]
