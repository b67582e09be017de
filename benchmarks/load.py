"""A load generator that costs little: plain sockets, requests made before."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import numpy as np

HUNG_S = 120.0
"""A request without an answer after this time counts as hung."""
Judge: TypeAlias = Callable[[int, int, bytes, bytes], str]


@dataclass
class Load:
    """What came of a run.

    Attributes:
        seconds: Length of the run.
        latencies: Of every answered request, seconds.
        answers: Position of the request, status and body of the first answer to each.
        errors: Requests that were not answered with 200, or not at all.
        outcomes: How often each outcome: what the judge said, `lost` or `hung`.
        refusals: Time that each refusal (429 and 503) took, seconds.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    answers: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    errors: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: list[float] = field(default_factory=list)

    def row(self, items: int = 1) -> dict[str, Any]:
        """Throughput in items (of which a request has so many), percentiles in milliseconds."""
        times = np.array(self.latencies or [float("nan")]) * 1000
        p50, p95, p99 = np.percentile(times, (50, 95, 99))
        return {
            "per_s": round(len(self.latencies) * items / self.seconds, 1),
            "p50_ms": round(float(p50), 1),
            "p95_ms": round(float(p95), 1),
            "p99_ms": round(float(p99), 1),
            "errors": self.errors,
        }


def multipart(path: str, fields: dict[str, str], file: bytes) -> bytes:
    """A request with one picture as a form."""
    boundary = "----geobento"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    body = b"".join(parts) + head + file + f"\r\n--{boundary}--\r\n".encode()
    return post(path, f"multipart/form-data; boundary={boundary}", body)


def post(path: str, kind: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def status_alone(_: int, status: int, head: bytes, body: bytes) -> str:
    """The judge that looks at nothing but the status."""
    return str(status)


async def run(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    seconds: float,
    *,
    judge: Judge = status_alone,
    pause_s: float = 0.0,
) -> Load:
    """Send requests over so many connections, each waiting for its answer before the next.

    Args:
        port: Where the server listens.
        requests: What is sent, in turns.
        connections: How many.
        seconds: How long.
        judge: The outcome of an answer, from the request's position, its status, head and body.
        pause_s: How long a connection waits after a refusal or a loss, on average.
    """
    load = Load()
    numbers = count()
    start = time.perf_counter()
    end = start + seconds

    async def pause() -> None:
        await asyncio.sleep(random.uniform(0.5, 1.5) * pause_s)

    async def connection() -> None:
        await asyncio.sleep(random.uniform(0, pause_s))  # or all would come back at the same time
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while time.perf_counter() < end:
            position = next(numbers) % len(requests)
            sent = time.perf_counter()
            try:
                async with asyncio.timeout(HUNG_S):
                    streams = streams or await asyncio.open_connection("127.0.0.1", port)
                    streams[1].write(requests[position])
                    status, head, body = await _answer(streams[0])
            except (OSError, asyncio.IncompleteReadError) as error:
                load.errors += 1
                load.outcomes["hung" if isinstance(error, TimeoutError) else "lost"] += 1
                if streams is not None:
                    streams[1].close()
                streams = None
                await pause()
                continue
            load.outcomes[judge(position, status, head, body)] += 1
            load.answers.setdefault(position, (status, body))
            if status == 200:
                load.latencies.append(time.perf_counter() - sent)
                continue
            load.errors += 1
            if status in (429, 503):
                load.refusals.append(time.perf_counter() - sent)
                await pause()
        if streams is not None:
            streams[1].close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    load.seconds = time.perf_counter() - start
    return load


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return int(head[9:12]), head, await reader.readexactly(length)
