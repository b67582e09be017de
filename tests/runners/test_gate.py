"""What is with a runner at a time."""

from __future__ import annotations

import asyncio

import pytest

from runners.gate import Gate


def test_items_beyond_the_bound_wait_in_order() -> None:
    """Nobody overtakes, also where a later part would fit."""

    async def go() -> None:
        gate, inside = Gate(4), []

        async def enter(name: str, items: int) -> None:
            await gate.enter(items)
            inside.append(name)

        tasks = [asyncio.create_task(enter(*one)) for one in (("a", 3), ("b", 2), ("c", 1))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert inside == ["a"]
        gate.leave(3)
        await asyncio.gather(*tasks)
        assert inside == ["a", "b", "c"]

    asyncio.run(go())


def test_a_part_larger_than_the_bound_goes_alone() -> None:
    """It is let in when nothing else is, and keeps others out."""

    async def go() -> None:
        gate = Gate(2)
        await gate.enter(5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.enter(1), 0.01)
        gate.leave(5)
        await asyncio.wait_for(gate.enter(1), 1)

    asyncio.run(go())


@pytest.mark.parametrize("let_in", [False, True])
def test_who_gives_up_leaves_no_place_taken(let_in: bool) -> None:
    """Whether it still waits or was just let in, the next one comes in."""

    async def go() -> None:
        gate = Gate(1)
        await gate.enter(1)
        waiting = asyncio.create_task(gate.enter(1))
        behind = asyncio.create_task(gate.enter(1))
        await asyncio.sleep(0)
        if let_in:
            gate.leave(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        if not let_in:
            gate.leave(1)
        await asyncio.wait_for(behind, 1)

    asyncio.run(go())
