"""The load generator, against a server with scripted answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import uvloop

from benchmarks import load

REQUEST = load.post_request("/", "text/plain", b"ask")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"


@asynccontextmanager
async def server(answer: Callable[[int], Sequence[bytes]]) -> AsyncIterator[int]:
    """A port at which request by request is answered in parts; closed after what is not whole."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while await reader.readexactly(len(REQUEST)):
                parts = answer(count)
                count += 1
                for part in parts:
                    writer.write(part)
                    await asyncio.sleep(0.001)
                if b"".join(parts) not in {OK, REFUSED}:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield int(listening.sockets[0].getsockname()[1])


def measure(answer: Callable[[int], Sequence[bytes]], pause_s: float = 0) -> load.LoadResult:
    """The result of a short run over two connections."""

    async def run() -> load.LoadResult:
        async with server(answer) as port:
            return await load.run(port, [REQUEST], 2, 0.2, pause_s=pause_s)

    return uvloop.run(run())


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
def test_answers_come_in_any_parts(size: int) -> None:
    """Headers and bodies are found wherever the network cuts them."""
    parts = [OK[start : start + size] for start in range(0, len(OK), size)]
    result = measure(lambda _: parts)
    assert result.responses[0] == (200, b"body")
    assert set(result.outcomes) == {"200"}
    assert len(result.latencies) == result.outcomes["200"] > 1
    assert not result.errors


def test_refusals_are_no_latencies() -> None:
    """They are timed on their own, and count as errors."""
    result = measure(lambda number: [REFUSED if number % 2 else OK], pause_s=0.01)
    assert result.errors == len(result.rejection_s) == result.outcomes["503"] > 0
    assert len(result.latencies) == result.outcomes["200"] > 0


@pytest.mark.parametrize("cut", [0, 5, len(OK) - 1])
def test_an_answer_counts_when_it_is_whole(cut: int) -> None:
    """Or else the request is lost, and the next has a new connection."""
    result = measure(lambda number: [OK[:cut] if number == 1 else OK])
    assert result.outcomes["lost"] == result.errors == 1
    assert len(result.latencies) == result.outcomes["200"] > 1
