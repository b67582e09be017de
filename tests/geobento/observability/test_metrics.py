"""What is counted and measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geobento.observability import metrics
from tests.conftest import ROOT

COUNTED = """
import os
from geobento.observability import metrics
metrics.REQUESTS_IN_FLIGHT.set(3)
metrics.ITEMS.labels("m:v", "ok").inc(2)
os._exit(9)
"""
READ = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from geobento.observability import metrics
metrics.remove_dead_process_metrics()
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_killed_processes_count_and_hold_nothing(tmp_path: Path) -> None:
    """Their counters stay, what they had in flight goes."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    run(COUNTED)
    assert list(tmp_path.glob("gauge_livesum_*.db"))
    text = run(READ)
    assert 'geobento_items_total{model="m:v",outcome="ok"} 2.0' in text
    assert "geobento_requests_in_flight 3" not in text


def test_nothing_to_forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A live process keeps its gauges; without several processes there is nothing to do."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics.remove_dead_process_metrics()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    own = tmp_path / f"gauge_livesum_{os.getpid()}.db"
    own.touch()
    metrics.remove_dead_process_metrics()
    assert own.exists()
