"""The API server's client of a runner."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Any

import aiohttp
import numpy as np
import pytest
from bentoml.exceptions import BentoMLException

from geobento.limiters import AdmissionLimiter
from geobento.observability import request_context
from geobento.schemas.errors import DeadlineExceeded, InternalError, Overloaded
from inference.types import EncodeItem, EncodeResult
from runners import client
from runners.client import RunnerClient


class Runner:
    """Stands for BentoML's proxy: fails as scripted, then answers what it was given."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls: list[int] = []
        self.to_async = self

    async def encode(self, items: list[EncodeItem]) -> list[EncodeResult]:
        self.calls.append(len(items))
        await asyncio.sleep(0.001 * (10 - len(self.calls)))
        if self.failures:
            raise self.failures.pop(0)
        return [EncodeResult(data=item.inputs["n"]) for item in items]


def encode(runner: Any, count: int, batch: int = 4) -> list[int]:
    """Numbers sent through a runner."""
    items = [EncodeItem(inputs={"n": n}, pooling=None) for n in range(count)]
    return [result.data for result in asyncio.run(RunnerClient(runner, batch).encode(items))]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(client, "RETRY_DELAYS_S", (0.0,) * 3)


def test_items_go_in_parts_and_come_back_in_order() -> None:
    """No call holds more than a batch, whichever call is answered first."""
    runner = Runner()
    assert encode(runner, 10) == list(range(10))
    assert sorted(runner.calls) == [2, 4, 4]
    assert encode(Runner(), 0) == []


@pytest.mark.parametrize(
    "lost", [aiohttp.ServerDisconnectedError(), ConnectionResetError(), aiohttp.ClientOSError()]
)
def test_a_lost_connection_is_tried_again(lost: Exception) -> None:
    """A keep-alive connection that the runner has closed costs no request."""
    assert encode(Runner(lost, lost), 1) == [0]


def test_a_runner_that_stays_away() -> None:
    """After the last try: 503, come back later."""
    with pytest.raises(Overloaded) as caught:
        encode(Runner(*[ConnectionResetError()] * 3), 1)
    assert caught.value.retry_after == client.RESTART_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (HTTPStatus.SERVICE_UNAVAILABLE, Overloaded),
        (HTTPStatus.INTERNAL_SERVER_ERROR, InternalError),
    ],
)
def test_what_the_runner_answers(status: HTTPStatus, cls: type[Exception]) -> None:
    """Overload is said as such; a defect is not tried again and not told in detail."""
    runner = Runner(BentoMLException("secret", error_code=status))
    with pytest.raises(cls) as caught:
        encode(runner, 1)
    assert "secret" not in str(caught.value)
    assert runner.calls == [1]


def test_readiness_is_never_an_exception() -> None:
    """A runner that refuses connections is not ready; one in the same process is."""

    class Refusing:
        async def is_ready(self, timeout: int) -> bool:
            raise aiohttp.ClientConnectionError

    assert not asyncio.run(RunnerClient(Refusing(), 4).is_ready())
    assert asyncio.run(RunnerClient(object(), 4).is_ready())


class Slow:
    """Stands for a runner that answers when it is told to."""

    def __init__(self) -> None:
        self.to_async = self
        self.calls: list[list[EncodeItem]] = []
        self.go = asyncio.Event()
        self.ready = True
        self.lose = 0

    async def encode(self, items: list[EncodeItem]) -> list[EncodeResult]:
        self.calls.append(items)
        await self.go.wait()
        if len(self.calls) <= self.lose:
            raise ConnectionResetError
        return [EncodeResult(data=item.inputs["n"]) for item in items]

    async def is_ready(self, timeout: int) -> bool:
        return self.ready


def numbered(count: int) -> list[EncodeItem]:
    """So many items."""
    return [EncodeItem(inputs={"n": np.array([n])}, pooling=None) for n in range(count)]


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_is_beyond_the_bounds_is_refused_at_once() -> None:
    """Items that wait and bytes that are held are bounded, and given back."""

    async def go() -> None:
        runner = Slow()
        many = RunnerClient(runner, 2, max_queue_size=8)  # and four inside
        first = asyncio.create_task(many.encode(numbered(11)))
        await settled()
        with pytest.raises(Overloaded) as caught:
            await many.encode(numbered(2))
        assert caught.value.retry_after == 1
        large = RunnerClient(runner, 2, input_limiter=AdmissionLimiter(20, "bytes"))
        second = asyncio.create_task(large.encode(numbered(2)))
        await settled()
        with pytest.raises(Overloaded, match="bytes"):
            await large.encode(numbered(1))
        runner.go.set()
        await asyncio.gather(first, second)
        assert len(await many.encode(numbered(2))) == 2
        assert len(await large.encode(numbered(1))) == 1

    asyncio.run(go())


def test_a_large_request_does_not_starve_others() -> None:
    """It has a few parts with the runner at a time, and those of others go in between."""

    async def go() -> None:
        runner = Slow()
        sender = RunnerClient(runner, 2, concurrent_batches=3)
        large = asyncio.create_task(sender.encode(numbered(100)))
        await settled()
        assert [len(call) for call in runner.calls] == [2] * 4
        small = asyncio.create_task(sender.encode(numbered(1)))
        await settled()
        runner.go.set()
        assert [len(result) for result in await asyncio.gather(large, small)] == [100, 1]
        assert [len(call) for call in runner.calls].index(1) == 4

    asyncio.run(go())


def test_requests_share_calls_until_one_is_lost() -> None:
    """Then each goes alone: an item that kills the runner must not take others along."""

    async def go() -> None:
        runner = Slow()
        sender = RunnerClient(runner, 8)
        inside = [asyncio.create_task(sender.encode(numbered(1))) for _ in range(2)]
        await settled()
        shared = [asyncio.create_task(sender.encode(numbered(n))) for n in (2, 3)]
        await settled()
        runner.lose = 2
        runner.go.set()
        answers = await asyncio.gather(*inside, *shared)
        assert [len(answer) for answer in answers] == [1, 1, 2, 3]
        calls = [len(call) for call in runner.calls]
        assert calls[:2] == [1, 6]
        assert sorted(calls[2:]) == [1, 1, 2, 3]

    asyncio.run(go())


@pytest.mark.parametrize(("ready", "cls"), [(True, DeadlineExceeded), (False, Overloaded)])
def test_the_deadline_is_kept(ready: bool, cls: type[Exception]) -> None:
    """Items say until when they are wanted; no answer in time is 504, or 503 without a runner."""

    async def go() -> None:
        runner = Slow()
        runner.ready = ready
        request = request_context.begin_request()
        request.deadline = time.time() + 0.2
        with pytest.raises(cls):
            await RunnerClient(runner, 4).encode(numbered(1))
        assert runner.calls[0][0].deadline == request_context.deadline()
        assert runner.calls[0][0].request_id == request.id

    asyncio.run(go())


def test_a_client_of_bentoml_that_gives_up() -> None:
    """Its own bound is no defect of the service: come back later."""
    with pytest.raises(Overloaded):
        encode(Runner(TimeoutError()), 1)


def test_items_that_kill_the_runner_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not sent to it again and again."""
    monkeypatch.setattr(client, "IMMEDIATE_FAILURE_S", -1.0)
    monkeypatch.setattr(client, "RETRY_DELAYS_S", (0.0,) * 9)
    runner = Runner(*[ConnectionResetError()] * 9)
    with pytest.raises(Overloaded):
        encode(runner, 1)
    assert len(runner.calls) == client.MAX_RUNNER_DEATHS + 1
