"""The Bento builds, and what is built serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from models.importing import import_model
from models.store import StoredModel
from tests.conftest import ROOT
from tests.servers import serving


@pytest.mark.slow
def test_the_bento_serves(tmp_path: Path, mosaiks_stored: StoredModel, demo_archive: Path) -> None:
    """It holds the served models and the code alone, pins its packages, and answers."""
    finished = import_model("gse")
    build = [sys.executable, "-m", "bentoml", "build", "--output", "tag", str(ROOT)]
    tags = [finished.tag, mosaiks_stored.tag]
    chosen = {"GEOBENTO_MODELS": ",".join(tags)}
    done = subprocess.run(
        build, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **chosen}
    )
    assert done.returncode == 0, done.stderr
    tag = done.stdout.strip().removeprefix("__tag__:")
    name, _, version = tag.partition(":")
    folder = Path(os.environ["BENTOML_HOME"]) / "bentos" / name / version
    record = yaml.safe_load((folder / "bento.yaml").read_text())
    models = [model["tag"] for service in record["services"] for model in service["models"]]
    assert sorted(models) == tags
    sources = {path.name for path in (folder / "src").iterdir()}
    assert {
        "service.py",
        "geobento",
        "imagery",
        "models",
        "pipeline",
        "runners",
        "compat",
    } <= sources
    assert not sources & {"tests", "docs", "benchmarks", ".git", ".venv"}
    requirements = (folder / "env" / "python" / "requirements.txt").read_text()
    assert "torch==" in requirements
    assert "pytest" not in requirements
    with serving(tmp_path / "log", tag, cwd=tmp_path, **chosen) as client:
        body = json.loads((ROOT / "tests" / "data" / "place.json").read_text())
        assert client.post("/geo_embedding", json=body).json()["dim"] == 1024
        assert client.post("/geo_embedding", json=body | {"model": "gse"}).json()["dim"] == 64
