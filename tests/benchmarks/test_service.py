"""Servers under measurement: they end with all that they started, and their memory is watched."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

from benchmarks.service import free_port, run_server

SCRIPT = """
import http.server, signal, subprocess, sys
ask = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", ask])
open(sys.argv[2], "w").write(str(child.pid))
signal.signal(signal.SIGTERM, lambda *_: sys.exit())

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.held = b"1" * (int(self.path.strip("/") or 0) << 20)
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""


def test_leftover_processes_of_a_server_are_ended(tmp_path: Path) -> None:
    """The next server that is measured does not share the machine with parts of the last."""
    port, pid = free_port(), tmp_path / "pid"
    command: list[str | Path] = [sys.executable, "-c", SCRIPT, str(port), pid]
    with run_server(command, port, "/", tmp_path / "log"):
        child = psutil.Process(int(pid.read_text()))
    child.wait(5)
    assert not child.is_running()


def test_memory_that_was_given_back_counts(tmp_path: Path) -> None:
    """Peak memory is that of the moment with the most, not that of the end."""
    port = free_port()
    command: list[str | Path] = [sys.executable, "-c", SCRIPT, str(port), tmp_path / "pid"]
    with (
        run_server(command, port, "/", tmp_path / "log") as served,
        served.peak_memory_mib(interval_s=0.01) as peak_memory_mib,
    ):
        before = served.memory_mib()
        assert served.is_ready("/200")
        while peak_memory_mib() < before + 200:
            time.sleep(0.01)
        assert served.is_ready("/")
        assert served.memory_mib() < before + 100
        assert peak_memory_mib() >= before + 200
