"""The packages follow the architecture."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import geobento
from models.registry import MODEL_CLASSES
from tests.conftest import ROOT

PACKAGES = (
    *("compat", "deploy", "geobento", "imagery", "inference"),
    *("models", "pipeline", "runners", "server"),
)


def test_imports_between_packages() -> None:
    """The import contracts of pyproject.toml hold."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", geobento.__all__)
def test_public_names_exist_and_are_described(name: str) -> None:
    """Everything in `__all__` can be imported and says what it is."""
    value = getattr(geobento, name)
    assert name == "__version__" or value.__doc__


@pytest.mark.parametrize("model_id", MODEL_CLASSES)
def test_no_shared_code_knows_a_model(model_id: str) -> None:
    """Outside its own package, no code asks whether a model is this one."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            asks = re.search(
                rf"""(==|!=|\b(if|elif|case)\b.*\bin\b).*["']{model_id}["']""", file.read_text()
            )
            assert asks is None or model_id in file.with_suffix("").parts, (file, asks)


def test_the_supervisor_holds_no_libraries(small_models: str) -> None:
    """The deployment is imported by every process; what only some need, they import themselves."""
    heavy = ("torch", "transformers", "rasterio", "xarray", "pandas", "odc.loader", "pystac_client")
    program = f"import sys, service; print([name for name in {heavy} if name in sys.modules])"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "GEOBENTO_MODELS": small_models, "GEOBENTO_PRECISION": "auto"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.mark.parametrize("model_id", MODEL_CLASSES)
def test_a_model_is_described_without_torch(model_id: str) -> None:
    """The supervisor and the API server know a model without its libraries."""
    program = (
        "import sys; from models.registry import get_model_class; "
        f"cls = get_model_class({model_id!r}); "
        "model = cls(cls.default_config(cls.card.default_variant)); model.dim; model.modalities(); "
        "print([name for name in ('torch', 'transformers', 'timm') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stdout + done.stderr
