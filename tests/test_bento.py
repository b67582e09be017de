"""The Bento builds, and what is built serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from models.galileo.model import Galileo
from models.weights.stored_model import StoredModel
from tests.conftest import ROOT
from tests.models import small
from tests.servers import serving


def run(*command: str, **environment: str) -> str:
    """Output of a Python module."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_the_bento_serves(tmp_path: Path, mosaiks_stored: StoredModel, demo_archive: Path) -> None:
    """It holds the chosen model and the code alone, and answers where there is no model store."""
    small.stored(Galileo)  # is in the store, and not chosen
    tag = run("deploy.bento", GEOBENTO_MODELS=mosaiks_stored.tag)
    name, _, version = tag.partition(":")
    folder = Path(os.environ["BENTOML_HOME"]) / "bentos" / name / version
    record = yaml.safe_load((folder / "bento.yaml").read_text())
    models = [model["tag"] for service in record["services"] for model in service["models"]]
    assert models == [mosaiks_stored.tag]
    assert {path.name for path in (folder / "src").iterdir()} == {
        *("service.py", "geobento", "imagery", "models", "inference", "runners", "pipeline"),
        *("server", "compat"),
        *("bentofile.yaml", "constraints.txt", "README.md"),
    }
    requirements = (folder / "env" / "python" / "requirements.txt").read_text()
    assert "torch==" in requirements
    assert all("==" in line for line in requirements.splitlines())
    assert not any(name in requirements for name in ("transformers", "timm", "redis", "pytest"))
    dockerfile = (folder / "env" / "docker" / "Dockerfile").read_text()
    assert "apt-get" not in dockerfile
    assert "USER bentoml" in dockerfile

    packed = tmp_path / "geobento.bento"
    run("bentoml", "export", tag, str(packed))
    elsewhere = {"BENTOML_HOME": str(tmp_path / "elsewhere")}
    run("bentoml", "import", str(packed), **elsewhere)
    with serving(tmp_path / "log", tag, cwd=tmp_path, **elsewhere) as client:
        served = client.get("/models").json()["models"]
        assert [model["tag"] for model in served] == [mosaiks_stored.tag]
        body = json.loads((ROOT / "tests" / "data" / "region.json").read_text())
        assert client.post("/geo_embedding", json=body).json()["dim"] == 1024
