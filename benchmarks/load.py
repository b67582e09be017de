"""A cheap load generator: plain sockets, and requests that are made before the run."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
    start = time.perf_counter()
    load = _Load(port, requests, start + seconds, verify, pause_s)
    await asyncio.gather(*(load.run_connection() for _ in range(connections)))
    load.result.seconds = time.perf_counter() - start
    return load.result


@dataclass
class _Load:
    """The state that the connections of a run share."""

    port: int
    requests: Sequence[bytes]
    end: float
    verify: Verify
    pause_s: float
    result: LoadResult = field(default_factory=LoadResult)
    numbers: Iterator[int] = field(default_factory=count)

    async def run_connection(self) -> None:
        """Send requests over one connection until the end of the run."""
        await asyncio.sleep(random.uniform(0, self.pause_s))  # so that not all come at once
        connection: _Connection | None = None
        while time.perf_counter() < self.end:
            position = next(self.numbers) % len(self.requests)
            sent_at = time.perf_counter()
            try:
                async with asyncio.timeout(HANG_TIMEOUT_S):
                    connection = connection or await _connect(self.port)
                    status, head, body = await connection.request(self.requests[position])
            except OSError as error:
                self.result.errors += 1
                self.result.outcomes["hung" if isinstance(error, TimeoutError) else "lost"] += 1
                if connection is not None:
                    connection.close()
                connection = None
                await self._pause()
                continue
            self.result.outcomes[self.verify(position, status, head, body)] += 1
            self.result.responses.setdefault(position, (status, body))
            await self._record(status, time.perf_counter() - sent_at)
        if connection is not None:
            connection.close()

    async def _record(self, status: int, seconds: float) -> None:
        if status == 200:
            self.result.latencies.append(seconds)
            return
        self.result.errors += 1
        if status in (429, 503):
            self.result.rejection_s.append(seconds)
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(random.uniform(0.5, 1.5) * self.pause_s)


async def _connect(port: int) -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
    return connection


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
