"""Requests that schemathesis derives from the OpenAPI document, over real HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.servers import serving

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
PHASES = ("examples", "coverage", "fuzzing")
MOST_S = 1800


@pytest.mark.slow
def test_every_answer_is_in_the_document(small_models: str, tmp_path: Path) -> None:
    """Examples, bounds and random requests, right and wrong: no 5xx, nothing undocumented."""
    # A service of its own: some requests stop models.
    home = str(tmp_path)
    with serving(tmp_path / "log", GEOBENTO_MODELS=small_models, GEOBENTO_DATA_DIR=home) as client:
        ask(client, tmp_path)


def ask(client: httpx.Client, folder: Path) -> None:
    """Run schemathesis on a service."""
    url = str(client.base_url)
    operations = sum(map(len, client.get("/docs.json").json()["paths"].values()))
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/docs.json"),
        *("--url", url, "--checks", ",".join(CHECKS), "--phases", ",".join(PHASES)),
        # The same requests every time, from one thread: hypothesis fails on some schemas in two.
        *("--max-examples", "5", "--generation-deterministic", "--workers", "1"),
        *("--no-color", "--continue-on-failure"),
    ]
    # No bound of its own, which would cut the run short and call it a success; ours fails.
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=MOST_S
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert f"Selected: {operations}/{operations}\n" in done.stdout
    assert f"Tested: {operations}\n" in done.stdout
    for phase in PHASES:
        assert re.search(rf"✅ {phase}$", done.stdout, re.MULTILINE | re.IGNORECASE), done.stdout
