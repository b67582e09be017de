"""A load generator that costs little: plain sockets, requests made before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np


@dataclass
class Load:
    """What came of a run.

    Attributes:
        seconds: Length of the run.
        latencies: Of every answered request, seconds.
        answers: Position of the request, status and body of the first answer to each.
        errors: Requests that were not answered with 200, or not at all.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    answers: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    errors: int = 0

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


async def run(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Send requests over so many connections, each waiting for its answer before the next."""
    load = Load()
    numbers = count()
    start = time.perf_counter()
    end = start + seconds

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            position = next(numbers) % len(requests)
            sent = time.perf_counter()
            try:
                writer.write(requests[position])
                status, body = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                load.errors += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            load.answers.setdefault(position, (status, body))
            if status == 200:
                load.latencies.append(time.perf_counter() - sent)
            else:
                load.errors += 1
        writer.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    load.seconds = time.perf_counter() - start
    return load


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return int(head[9:12]), await reader.readexactly(length)
