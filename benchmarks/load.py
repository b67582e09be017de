"""A cheap load generator: plain sockets, and requests that are made before the run."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import numpy as np

HANG_TIMEOUT_S = 120.0
"""A request without a response after this time counts as hung."""
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
Verify: TypeAlias = Callable[[int, int, bytes, bytes], str]


@dataclass
class LoadResult:
    """Result of a run.

    Attributes:
        seconds: Duration of the run.
        latencies: Latency of every response with status 200, seconds.
        responses: Status and body of the first response to each request, by position.
        errors: Number of requests without a response of status 200.
        outcomes: Count of each outcome: the value of `verify`, `lost` or `hung`.
        rejection_s: Latency of each rejection (429 and 503), seconds.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    responses: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    errors: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    rejection_s: list[float] = field(default_factory=list)

    def row(self, items: int = 1) -> dict[str, Any]:
        """Throughput, items per second, and percentiles, milliseconds.

        Args:
            items: Items per request.
        """
        times = np.array(self.latencies or [float("nan")]) * 1000
        p50, p95, p99 = np.percentile(times, (50, 95, 99))
        return {
            "per_s": round(len(self.latencies) * items / self.seconds, 1),
            "p50_ms": round(float(p50), 1),
            "p95_ms": round(float(p95), 1),
            "p99_ms": round(float(p99), 1),
            "errors": self.errors,
        }


def multipart_request(path: str, fields: dict[str, str], file: bytes) -> bytes:
    """A request with one image as a form."""
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
    return post_request(path, f"multipart/form-data; boundary={boundary}", body)


def post_request(path: str, content_type: str, body: bytes) -> bytes:
    """A POST request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def verify_status(_: int, status: int, head: bytes, body: bytes) -> str:
    """The outcome is the status."""
    return str(status)


async def run(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    seconds: float,
    *,
    verify: Verify = verify_status,
    pause_s: float = 0.0,
) -> LoadResult:
    """Send requests over several connections, one at a time on each.

    Args:
        port: Port of the server on this machine.
        requests: The requests, sent in turns.
        connections: Number of connections.
        seconds: Duration.
        verify: Outcome of a response, from the position of its request, status, head and body.
        pause_s: Mean pause of a connection after a rejection or a lost request, seconds.
    """
    load = LoadResult()
    loop = asyncio.get_running_loop()
    numbers = count()
    start = time.perf_counter()
    end = start + seconds

    async def pause() -> None:
        await asyncio.sleep(random.uniform(0.5, 1.5) * pause_s)

    async def connection() -> None:
        await asyncio.sleep(random.uniform(0, pause_s))  # so that not all come at once
        opened: _Connection | None = None
        while time.perf_counter() < end:
            position = next(numbers) % len(requests)
            sent = time.perf_counter()
            try:
                async with asyncio.timeout(HANG_TIMEOUT_S):
                    if opened is None:
                        _, opened = await loop.create_connection(_Connection, "127.0.0.1", port)
                    status, head, body = await opened.request(requests[position])
            except OSError as error:
                load.errors += 1
                load.outcomes["hung" if isinstance(error, TimeoutError) else "lost"] += 1
                if opened is not None:
                    opened.close()
                opened = None
                await pause()
                continue
            load.outcomes[verify(position, status, head, body)] += 1
            load.responses.setdefault(position, (status, body))
            if status == 200:
                load.latencies.append(time.perf_counter() - sent)
                continue
            load.errors += 1
            if status in (429, 503):
                load.rejection_s.append(time.perf_counter() - sent)
                await pause()
        if opened is not None:
            opened.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    load.seconds = time.perf_counter() - start
    return load


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._response_length: int | None = None
        self._response: asyncio.Future[tuple[int, bytes, bytes]] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Open."""
        self._transport = transport

    async def request(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body of the response.

        Raises:
            ConnectionError: The connection was closed before the response was complete.
        """
        if self._transport.is_closing():
            raise ConnectionResetError("closed between two requests")
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._response

    def data_received(self, data: bytes) -> None:
        """A part of a response."""
        self._received += data
        if self._response_length is None:
            end = self._received.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            length = CONTENT_LENGTH.search(self._received, 0, end)
            self._response_length = end + (int(length[1]) if length else 0)
        if (
            len(self._received) >= self._response_length
            and self._response
            and not self._response.done()
        ):
            head, _, body = self._received.partition(b"\r\n\r\n")
            self._response.set_result((int(head[9:12]), head, body))
            self._received, self._response_length = b"", None

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the other side."""
        if self._response and not self._response.done():
            self._response.set_exception(
                ConnectionResetError("closed before the response was complete")
            )

    def close(self) -> None:
        """Close."""
        self._transport.close()
