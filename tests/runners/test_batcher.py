"""Calls that many requests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from runners.batcher import DynamicBatcher


class Runner:
    """Answers a call when it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def encode(self, items: list[int]) -> list[int]:
        self.calls.append(items)
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]
        return [-item for item in items]


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


Steps = Callable[[Runner, Callable[..., asyncio.Task[list[int]]]], Coroutine[Any, Any, None]]


def play(steps: Steps, eager: int = 1, most: int = 1, batch: int = 4) -> None:
    """Run steps with a way to send parts."""

    async def go() -> None:
        runner = Runner()
        joint = DynamicBatcher(runner.encode, batch, eager, most)
        await steps(runner, lambda *a, **k: asyncio.create_task(joint.encode(*a, **k)))

    asyncio.run(go())


def test_what_waits_goes_together() -> None:
    """The first goes at once; what comes meanwhile shares a call, in order, up to a batch."""

    async def steps(runner: Runner, send: Any) -> None:
        sent = []
        for part in ([1], [2, 3], [4], [5, 6], [7]):
            sent.append(send(part))
            await settled()
        assert runner.calls == [[1]]
        runner.answers[0].set_result(None)
        await settled()
        assert runner.calls == [[1], [2, 3, 4]]  # [5, 6] stay together, and none overtakes
        runner.answers[1].set_result(None)
        await settled()
        assert runner.calls == [[1], [2, 3, 4], [5, 6, 7]]
        runner.answers[2].set_result(None)
        assert await asyncio.gather(*sent) == [[-1], [-2, -3], [-4], [-5, -6], [-7]]

    play(steps)


def test_a_part_larger_than_a_batch_goes_alone() -> None:
    """It is not refused, and nothing is added."""

    async def steps(runner: Runner, send: Any) -> None:
        sent = [send([1]), send([2] * 9), send([3])]
        await settled()
        for number in range(3):
            runner.answers[number].set_result(None)
            await settled()
        assert runner.calls == [[1], [2] * 9, [3]]
        await asyncio.gather(*sent)

    play(steps)


def test_so_many_calls_are_under_way() -> None:
    """No more, and another begins as soon as one has ended, whichever."""

    async def steps(runner: Runner, send: Any) -> None:
        sent = []
        for item in range(4):
            sent.append(send([item]))
            await settled()
        assert runner.calls == [[0], [1]]
        runner.answers[1].set_result(None)
        await settled()
        assert runner.calls == [[0], [1], [2, 3]]
        for number in (0, 2):
            runner.answers[number].set_result(None)
        await asyncio.gather(*sent)

    play(steps, eager=2, most=2)


def test_a_full_call_need_not_wait() -> None:
    """What gathers meanwhile goes as soon as it fills a call, or when the one before ends."""

    async def steps(runner: Runner, send: Any) -> None:
        sent = [send([1])]
        await settled()
        sent += [send([2]), send([3])]
        await settled()
        assert runner.calls == [[1]]
        sent.append(send([4, 5]))
        await settled()
        assert runner.calls == [[1], [2, 3, 4, 5]]
        sent.append(send([6] * 4))
        await settled()
        assert len(runner.calls) == 2  # no more than two, however full
        runner.answers[0].set_result(None)
        await settled()
        assert runner.calls[2:] == [[6] * 4]
        sent.append(send([7]))
        runner.answers[1].set_result(None)
        await settled()
        assert len(runner.calls) == 3
        runner.answers[2].set_result(None)
        await settled()
        assert runner.calls[3:] == [[7]]
        runner.answers[3].set_result(None)
        await asyncio.gather(*sent)

    play(steps, eager=1, most=2)


def test_who_goes_away() -> None:
    """While waiting: is never sent. Under way: the call keeps its place, others get answers."""

    async def steps(runner: Runner, send: Any) -> None:
        first = send([1])
        await settled()
        second, third, fourth = send([2]), send([3]), send([4])
        await settled()
        second.cancel()
        await settled()
        runner.answers[0].set_result(None)
        await settled()
        assert runner.calls == [[1], [3, 4]]
        third.cancel()
        fifth = send([5])
        await settled()
        assert len(runner.calls) == 2
        runner.answers[1].set_result(None)
        await settled()
        runner.answers[2].set_result(None)
        assert list(await asyncio.gather(first, fourth, fifth)) == [[-1], [-4], [-5]]
        assert third.cancelled()

    play(steps)


def test_a_call_that_fails() -> None:
    """All that were in it are told, and who then wants to go alone does."""

    async def steps(runner: Runner, send: Any) -> None:
        first = send([1])
        await settled()
        joint = [send([2]), send([3])]
        await settled()
        runner.answers[0].set_result(None)
        await settled()
        runner.answers[1].set_exception(ConnectionResetError())
        await asyncio.wait(joint)
        for task in joint:
            with pytest.raises(ConnectionResetError):
                task.result()
        sent = [send([4]), send([2], isolated=True), send([3], isolated=True), send([5]), send([6])]
        await settled()
        for number in range(2, 6):
            runner.answers[number].set_result(None)
            await settled()
        assert runner.calls[2:] == [[4], [2], [3], [5, 6]]
        await asyncio.gather(first, *sent)

    play(steps)
