"""Starting with settings that cannot be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from models.store import StoredModel
from tests.conftest import ROOT
from tests.servers import free_port


@pytest.mark.slow
def test_an_unusable_value_stops_the_start(mosaiks_stored: StoredModel) -> None:
    """The service does not run, and the last line of its log says which variables to change."""
    command = [sys.executable, "-m", "bentoml", "serve", "--port", str(free_port())]
    wrong = {"GEOBENTO_DEVICE": "tpu", "GEOBENTO_MAX_ITEMS": "many"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **wrong},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert all(name in last for name in wrong)
    assert "'auto', 'cpu' or 'cuda'" in last
