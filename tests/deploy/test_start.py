"""Starting with settings that cannot be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from models.weights.stored_model import StoredModel
from tests.conftest import ROOT
from tests.servers import free_port


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {
                "GEOBENTO_DEVICE": "tpu",
                "GEOBENTO_MAX_CLIENT_BATCH_SIZE": "many",
                "GEOBENTO_REQUIRE_KEY": "on",
            },
            "GEOBENTO_DEVICE: got 'tpu'; accepted: 'auto', 'cpu' or 'cuda'; "
            "GEOBENTO_MAX_CLIENT_BATCH_SIZE: got 'many'; accepted: a valid integer; "
            "GEOBENTO_REQUIRE_KEY: there is no such setting (did you mean GEOBENTO_REQUIRE_KEYS?)",
        ),
        (
            {"GEOBENTO_STAC": "earthsearch"},
            "GEOBENTO_STAC: got 'earthsearch'; accepted: earth-search, planetary-computer, the URL "
            "of a STAC API or of a static catalog, or the path of a catalog.json or of "
            "stac-geoparquet "
            "(did you mean 'earth-search'?)",
        ),
        (
            {"GEOBENTO_JOB_STORE": "postgres://user:secret@host"},
            "GEOBENTO_JOB_STORE: accepted: redis://HOST:PORT/DB, rediss://..., or empty",
        ),
        (
            {"GEOBENTO_MODELS": "mosaiks:none"},
            "the model store does not hold 'mosaiks:none'; run: geobento models import mosaiks",
        ),
    ],
)
def test_invalid_settings_stop_the_start(
    mosaiks_stored: StoredModel, wrong: dict[str, str], message: str
) -> None:
    """All that the process says is which variables to change and to what."""
    done = run("bentoml", "serve", "--port", str(free_port()), **wrong)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"GeoBento does not start: {message}"]
    assert done.stdout == ""


def test_the_command_line_says_the_same() -> None:
    """One message and no traceback there, too."""
    done = run("geobento", "demo-archive", GEOBENTO_DEVICE="tpu")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Error: GEOBENTO_DEVICE: got 'tpu'; accepted: 'auto', 'cpu' or 'cuda'"
    ]
