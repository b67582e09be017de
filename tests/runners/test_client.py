"""The hop from the front service to a runner."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest
from bentoml.exceptions import BentoMLException

from geobento.errors import InternalError, Overloaded
from models.execute import EncodeItem, EncodeResult
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
    monkeypatch.setattr(client, "PAUSES_S", (0.0,) * 3)


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
    assert caught.value.retry_after == 1


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
