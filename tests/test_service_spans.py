"""Spans of the real service, received by a collector over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.servers import serving

IMAGE = (ROOT / "tests" / "data" / "field.jpg").read_bytes()
CALLER = f"00-{'ab' * 16}-{'cd' * 8}-01"
"""Context of a caller that is traced: trace, span, sampled."""
MOST_S = 20

pytestmark = pytest.mark.slow


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A server that takes spans as OTLP; its address, and (name of the service, span) pairs."""
    trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            request = trace_service.ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    received.extend((names["service.name"], span) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()


def served(received: list[Any]) -> dict[str, Any]:
    """The spans of the services in the trace of the caller."""
    return {
        name: span
        for name, span in received
        if span.trace_id.hex() == "ab" * 16 and span.kind == span.SPAN_KIND_SERVER
    }


def test_a_trace_goes_from_the_caller_to_the_runner(mosaiks_stored: object, tmp_path: Path) -> None:
    """The span of the runner is a child of the API server's, and that of the caller's."""
    with (
        collector() as (url, received),
        serving(
            tmp_path / "log",
            GEOBENTO_MODELS="mosaiks",
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as client,
    ):
        headers = {"traceparent": CALLER, "x-request-id": "abc", "content-type": "image/jpeg"}
        request = {"model": "mosaiks"}
        answer = client.post("/image_embedding", params=request, content=IMAGE, headers=headers)
        assert answer.status_code == 200
        deadline = time.monotonic() + MOST_S
        while len(ours := served(received)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
    api_server, runner = ours["geobento"], ours["runner_mosaiks_gaussian"]
    assert api_server.parent_span_id.hex() == "cd" * 8
    assert runner.parent_span_id == api_server.span_id
    attributes = {a.key: a.value for a in api_server.attributes}
    assert attributes["geobento.request"].string_value == "abc"
    assert attributes["geobento.model"].string_value == "mosaiks:gaussian"
    assert attributes["geobento.forward_ms"].double_value > 0
    assert not [span for _, span in received if "readyz" in span.name]
