"""A stand-in for Earth Engine: real HTTP, the client's own discovery, an invented world.

It understands the functions that `imagery.earth_engine.source` uses, and refuses all others.
"""

from __future__ import annotations

import importlib.util
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from geobento.schemas.sample import PixelGrid
from tests.imagery.ee_bands import Refusal, parse_grid
from tests.imagery.ee_expressions import Evaluator
from tests.imagery.world import WorldScene

MOST_BYTES = 50_331_648


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    Attributes:
        status: HTTP status of an error.
        message: Its text.
        headers: Its headers.
        delay_s: Wait before the answer.
        truncated: Send half of the answer that is due, and close the connection.
        damaged: Send half of the answer as if it were the whole.
    """

    status: int = 200
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    truncated: bool = False
    damaged: bool = False


@dataclass
class ReceivedRequest:
    """A request that arrived: when, which call, its body and headers, and what went wrong."""

    begun: float
    call: str
    body: dict[str, Any]
    headers: dict[str, str]
    fault: Fault
    sent: int = 0


@dataclass
class Standin:
    """The server's state.

    Attributes:
        scenes: What there is.
        faults: What goes wrong next; None: nothing. Taken from the beginning.
        fault: Asked for every request once `faults` is empty.
        requests: All requests but those of the client's start.
        most_pixels: Larger grids exceed the "user memory limit".
        most_in_flight: Largest number of requests at a time so far.
    """

    scenes: list[WorldScene]
    faults: list[Fault | None] = field(default_factory=list)
    fault: Callable[[], Fault | None] = lambda: None
    requests: list[ReceivedRequest] = field(default_factory=list)
    max_pixels: int | None = None
    max_in_flight: int = 0
    in_flight: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def calls(self, name: str) -> list[ReceivedRequest]:
        """Requests of one kind: ``compute`` or ``computePixels``."""
        return [request for request in self.requests if request.call == name]

    def next_fault(self) -> Fault | None:
        """What goes wrong with this request."""
        with self.lock:
            return self.faults.pop(0) if self.faults else self.fault()


@contextmanager
def earth_engine(scenes: list[WorldScene]) -> Iterator[Standin]:
    """Serve a world; yields the state of the server."""
    state = Standin(scenes)

    class Bound(_Handler):
        standin = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    standin: Standin
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Discovery and the list of functions."""
        name = (
            "cloud_api_discovery_document" if self.path.startswith("/$discovery") else "algorithms"
        )
        if name == "algorithms" and "/algorithms" not in self.path:
            return self._send(404, _error(404, "no such resource"))
        return self._send(200, _shipped(name))

    def do_POST(self) -> None:
        """The two calls that compute."""
        standin = self.standin
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        call = self.path.split("?")[0].rsplit(":", 1)[-1]
        fault = standin.next_fault() or Fault()
        named = {name.lower(): value for name, value in self.headers.items()}
        request = ReceivedRequest(time.monotonic(), call, body, named, fault)
        with standin.lock:
            standin.in_flight += 1
            standin.max_in_flight = max(standin.max_in_flight, standin.in_flight)
            standin.requests.append(request)
        try:
            status, content, headers = self._answer(call, body, fault)
            request.sent = len(content)
        finally:  # before the answer is sent: whoever has it may ask again at once
            with standin.lock:
                standin.in_flight -= 1
        self._send(status, content, headers, truncated=fault.truncated)

    def _answer(
        self, call: str, body: dict[str, Any], fault: Fault
    ) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(fault.delay_s)
        if fault.status != 200:
            return fault.status, _error(fault.status, fault.message), fault.headers
        try:
            content = _computed(self.standin, call, body)
        except Refusal as refusal:
            return 400, _error(400, str(refusal)), {}
        if fault.damaged:
            content = content[: len(content) // 2]
        return 200, content, {}

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        *,
        truncated: bool = False,
    ) -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if truncated else content)
            if truncated:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
        except OSError:
            self.close_connection = True


def _error(status: int, message: str) -> bytes:
    return json.dumps({"error": {"code": status, "message": message}}).encode()


@cache
def _shipped(name: str) -> bytes:
    """A document that lies beside the client's own tests."""
    spec = importlib.util.find_spec("ee")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "tests"
    return (folder / f"{name}.json").read_bytes()


def _computed(standin: Standin, call: str, body: dict[str, Any]) -> bytes:
    if call == "compute":
        grid = _sampled_grid(standin.scenes, body["expression"])
        value = Evaluator(standin.scenes, body["expression"], grid).result()
        return json.dumps({"result": value}, separators=(",", ":")).encode()
    assert call == "computePixels"
    assert body["fileFormat"] == "NPY"
    grid = parse_grid(body["grid"])
    if standin.max_pixels is not None and grid.height * grid.width > standin.max_pixels:
        raise Refusal("User memory limit exceeded.")
    image = Evaluator(standin.scenes, body["expression"], grid).result()
    kinds = [(name, band.values.dtype) for name, band in image.items()]
    size = grid.height * grid.width * sum(dtype.itemsize + 1 for _, dtype in kinds)
    if size > MOST_BYTES:
        raise Refusal(
            f"Total request size ({size} bytes) must be less than or equal to {MOST_BYTES} bytes."
        )
    pixels = np.zeros(grid.shape, kinds)
    for name, band in image.items():
        pixels[name] = np.where(band.mask, band.values, 0)
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def _sampled_grid(scenes: list[WorldScene], expression: dict[str, Any]) -> PixelGrid | None:
    """The pixels of 10 m in the region that an expression samples, if it does."""
    values = expression["values"]
    node = values[expression["result"]].get("functionInvocationValue", {})
    if node.get("functionName") != "Image.sampleRectangle":
        return None
    region = node["arguments"]["region"]
    crs, (west, south, east, north) = Evaluator(scenes, expression, None).value(region)
    height, width = round((north - south) / 10), round((east - west) / 10)
    return PixelGrid(crs, (10.0, 0.0, west, 0.0, -10.0, north), height, width)
