"""A STAC API and its files over real HTTP, in a process of its own.

Its own process, because rasterio holds Python's lock while it opens a file. It serves what
`tests.imagery.catalogs.CatalogBuilder` wrote to a folder:

- ``/api/<folder>``: landing page, ``/collections``, ``/search`` by GET and POST, with pages
- ``/files/<folder>/...``: files, in ranges; ``catalog.json`` among them
- ``/token/<account>/<container>``: tokens, which files want while `signed` is on
- ``/control``: what goes wrong (POST), which requests arrived (GET)
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

CLASSES = ("core", "item-search", "item-search#query", "item-search#filter", "item-search#sort")
ENDS = ("start", "end")
PAGE = 3
"""Most items of one answer, whatever is asked."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    Attributes:
        status: HTTP status of an error.
        headers: Its headers.
        delay_s: Wait before the answer.
        truncated: Send half of the answer that is due, and close the connection.
        body: Send this instead.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    truncated: bool = False
    body: str | None = None


class StacServer:
    """The tests' end of the server.

    Args:
        root: The folder above those that are served.
        url: Where it listens.
    """

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.url = url

    def api(self, folder: Path) -> str:
        """Landing page of the API over a folder's items."""
        return f"{self.url}/api/{folder.relative_to(self.root)}"

    def file(self, path: Path) -> str:
        """Address of a file."""
        return f"{self.url}/files/{path.relative_to(self.root)}"

    def reset(self, **state: Any) -> None:
        """Set what goes wrong, by kind of request, and forget earlier requests.

        Args:
            **state: `faults` (for each of ``search``, ``files``, ``token``, ``landing`` a list of
                `Fault` or None, taken from its start), `conforms` (classes of the API), `signed`
                (files want a token), `token_s` (how long tokens last), `method` (of searches).
        """
        faults = {
            kind: [asdict(fault or Fault()) for fault in faults]
            for kind, faults in state.pop("faults", {}).items()
        }
        body = json.dumps({"faults": faults, **state}).encode()
        urlopen(Request(f"{self.url}/control", body, method="POST"), timeout=10).close()

    def requests(self, kind: str) -> list[dict[str, Any]]:
        """Requests of a kind since the last reset: begin, method, path, body, headers, fault."""
        with urlopen(f"{self.url}/control", timeout=10) as answer:
            return [entry for entry in json.load(answer)["requests"] if entry["kind"] == kind]

    def max_in_flight(self, kind: str) -> int:
        """Largest number of requests of a kind at a time since the last reset."""
        with urlopen(f"{self.url}/control", timeout=10) as answer:
            return int(json.load(answer)["max_in_flight"].get(kind, 0))


@contextmanager
def stac_server(root: Path) -> Iterator[StacServer]:
    """Serve the folders below one."""
    command = [sys.executable, "-m", "tests.imagery.stac_server", str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield StacServer(root, process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait(10)


# -- the server's own process ------------------------------------------------------------------


class _State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tokens = 0
        self.set({})

    def set(self, given: dict[str, Any]) -> None:
        self.faults: dict[str, list[dict[str, Any]]] = given.get("faults", {})
        self.conforms = given.get("conforms", CLASSES)
        self.signed = given.get("signed", False)
        self.token_s = given.get("token_s", 3600)
        self.method = given.get("method", "POST")
        self.requests: list[dict[str, Any]] = []
        self.in_flight: Counter[str] = Counter()
        self.max_in_flight: Counter[str] = Counter()

    def fault(self, kind: str) -> dict[str, Any]:
        with self.lock:
            waiting = self.faults.get(kind)
            return waiting.pop(0) if waiting else asdict(Fault())


class _Handler(BaseHTTPRequestHandler):
    root: Path
    state: _State
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    _done: Callable[[], None] = staticmethod(lambda: None)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._handle({})

    def do_GET(self) -> None:
        self._handle({})

    def do_POST(self) -> None:
        self._handle(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _handle(self, body: dict[str, Any]) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        if parts.path == "/control":
            if self.command == "POST":
                self.state.set(body)
            reported = {"requests": self.state.requests, "max_in_flight": self.state.max_in_flight}
            return self._send(200, reported)
        first, _, rest = parts.path.lstrip("/").partition("/")
        kind = {"files": "files", "token": "token"}.get(first, "landing")
        if first == "api" and rest.endswith("/search"):
            kind = "search"
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.state.fault(kind)
        in_flight, peak = self.state.in_flight, self.state.max_in_flight
        with self.state.lock:
            in_flight[kind] += 1
            peak[kind] = max(peak[kind], in_flight[kind])
            self.state.requests.append(
                {
                    "kind": kind, "method": self.command, "path": self.path, "body": body,
                    "headers": headers, "fault": fault, "begun": time.time(),
                }
            )  # fmt: skip
        self._done = lambda: in_flight.subtract([kind])
        time.sleep(fault["delay_s"])
        if fault["status"] != 200 or fault["body"] is not None:
            return self._send(
                fault["status"], fault["body"] or "no", fault["headers"], fault["truncated"]
            )
        cut = fault["truncated"]
        if kind == "files":
            return self._file(rest, query, headers.get("range"), cut)
        if kind == "token":
            return self._token(cut)
        if kind == "search":
            return self._search(rest.removesuffix("/search"), {**query, **body}, cut)
        return self._landing(rest.removesuffix("/collections"), rest.endswith("/collections"), cut)

    def _landing(self, folder: str, listing: bool, cut: bool) -> None:
        here = f"http://{self.headers['host']}/api/{folder}"
        if listing:
            ids = sorted({item["collection"] for item in _items(self.root / folder)})
            return self._send(200, {"collections": [{"id": name} for name in ids]}, cut=cut)
        prefix = "https://api.stacspec.org/v1.0.0/"
        self._send(
            200,
            {
                "type": "Catalog", "stac_version": "1.0.0", "id": "stand-in", "description": "",
                "conformsTo": [prefix + name for name in self.state.conforms],
                "links": [
                    {"rel": "self", "href": here},
                    {"rel": "root", "href": here},
                    {
                        "rel": "search", "type": "application/geo+json", "href": f"{here}/search",
                        "method": self.state.method,
                    },
                ],
            },
            cut=cut,
        )  # fmt: skip

    def _search(self, folder: str, search: dict[str, Any], cut: bool) -> None:
        if self.command != self.state.method:
            return self._send(405, {"code": "MethodNotAllowed"})
        if self.command == "GET":
            for name in ("query", "filter"):
                if name in search:
                    search[name] = json.loads(search[name])
            for name in ("collections", "bbox"):
                search[name] = search[name].split(",")
            search["sortby"] = [
                {"field": name[1:], "direction": "asc" if name[0] == "+" else "desc"}
                for name in search.get("sortby", "").replace(" ", "+").split(",")
                if name
            ]
        result = [item for item in _items(self.root / folder) if _matches(item, search)]
        for sort in reversed(search.get("sortby") or []):
            assert sort["field"] == "properties.datetime"
            result.sort(
                key=lambda item: str(item["properties"]["datetime"]),
                reverse=sort["direction"] == "desc",
            )
        start, size = int(search.get("token", 0)), min(int(search.get("limit", 10)), PAGE)
        here = f"http://{self.headers['host']}/api/{folder}/search"
        links: list[dict[str, Any]] = []
        if start + size < len(result):
            following = {**search, "token": str(start + size)}
            if self.command == "POST":
                links = [{"rel": "next", "href": here, "method": "POST", "body": following}]
            else:
                path = re.sub(r"&token=\d+", "", self.path.partition("?")[2])
                links = [{"rel": "next", "href": f"{here}?{path}&token={start + size}"}]
        page = result[start : start + size]
        for item in page:
            base = f"http://{self.headers['host']}/files/{folder}"
            for asset in item["assets"].values():
                if "://" not in asset["href"]:
                    asset["href"] = f"{base}/{asset['href']}"
        self._send(200, {"type": "FeatureCollection", "features": page, "links": links}, cut=cut)

    def _token(self, cut: bool) -> None:
        with self.state.lock:
            self.state.tokens += 1
            token = f"se=never&sig=secret%2F{self.state.tokens}"
        until = datetime.now(UTC) + timedelta(seconds=self.state.token_s)
        stated = until.isoformat(timespec="seconds").replace("+00:00", "Z")
        self._send(200, {"token": token, "msft:expiry": stated}, cut=cut)

    def _file(self, path: str, query: dict[str, str], byte_range: str | None, cut: bool) -> None:
        if self.state.signed and query.get("sig") != f"secret/{self.state.tokens}":
            return self._send(403, "no")
        file = self.root / path
        if not file.is_file():
            return self._send(404, "no")
        content = file.read_bytes()
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", byte_range or "")
        if part is None:
            return self._send(200, content, {"accept-ranges": "bytes"}, cut)
        first, last = int(part[1]), min(int(part[2]), len(content) - 1)
        headers = {"content-range": f"bytes {first}-{last}/{len(content)}"}
        return self._send(206, content[first : last + 1], headers, cut)

    def _send(
        self, status: int, body: Any, headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        content = text.encode() if isinstance(text, str) else text
        with self.state.lock:  # before the answer is sent: whoever has it may ask again at once
            self._done()
            self._done = lambda: None
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
        except OSError:
            self.close_connection = True


def _items(folder: Path) -> list[dict[str, Any]]:
    """All items below a folder; relative hrefs of assets are relative to the folder."""
    items = []
    for file in sorted(folder.rglob("*.json")):
        record = json.loads(file.read_text())
        if record.get("type") == "Feature":
            for asset in record["assets"].values():
                if "://" not in asset["href"]:
                    path = (file.parent / asset["href"]).resolve()
                    asset["href"] = str(path.relative_to(folder.resolve()))
            record["links"] = []
            items.append(record)
    return items


def _matches(item: dict[str, Any], search: dict[str, Any]) -> bool:
    """As the specification has it: times are closed, boxes may share an edge."""
    properties = item["properties"]
    west, south, east, north = (float(edge) for edge in search["bbox"])
    left, bottom, right, top = item["bbox"]
    assert west <= east, "boxes across the antimeridian are for servers that know them"
    start, _, end = search.get("datetime", "../..").partition("/")
    first, last = (properties["datetime"] or properties[f"{end}_datetime"] for end in ENDS)
    return (
        item["collection"] in search["collections"]
        and south <= top and bottom <= north
        and (west <= right and left <= east if left <= right else west <= right or left <= east)
        and (start == ".." or _instant(start) <= _instant(last))
        and (end == ".." or _instant(first) <= _instant(end))
        and all(
            _compares(op, properties.get(name), value)
            for name, parts in (search.get("query") or {}).items()
            for op, value in parts.items()
        )
        and ("filter" not in search or _holds(search["filter"], properties))
    )  # fmt: skip


def _holds(expression: dict[str, Any], properties: dict[str, Any]) -> bool:
    op, args = expression["op"], expression["args"]
    if op in ("and", "or"):
        parts = [_holds(part, properties) for part in args]
        return all(parts) if op == "and" else any(parts)
    stated = properties.get(args[0]["property"])
    return stated is None if op == "isNull" else _compares(op, stated, args[1])


def _compares(op: str, stated: Any, value: Any) -> bool:
    if stated is None:
        return False
    return bool(stated == value if op in ("eq", "=") else stated <= value)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _main(root: Path) -> None:
    class Bound(_Handler):
        pass

    Bound.root, Bound.state = root, _State()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
