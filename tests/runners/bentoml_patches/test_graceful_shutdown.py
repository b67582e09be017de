"""Stopping in order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

SUPERVISOR = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline(), flush=True)
time.sleep(60)
"""
WORKER = """
import os, time
os.environ["BENTOML_RUNNER_MAP"] = "{{}}"
from pathlib import Path
from runners.bentoml_patches import graceful_shutdown
graceful_shutdown.{how}(Path({lock!r}), 30)
print("ready", flush=True)
time.sleep(60)
"""


def test_nothing_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    """Neither the API server nor a runner, which would hold memory and the port for ever."""
    for how in ("hold_shutdown", "wait_for_server"):
        worker = WORKER.format(how=how, lock=str(tmp_path / "lock"))
        with subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, worker], stdout=subprocess.PIPE, text=True
        ) as supervisor:
            assert supervisor.stdout is not None
            number, ready = supervisor.stdout.readline().split()
            assert ready == "ready"
            orphan = psutil.Process(int(number))
            supervisor.kill()
            orphan.wait(30)
