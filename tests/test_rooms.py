"""The house keeps its plan."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import geobento
from tests.conftest import ROOT


def test_arrows_between_rooms() -> None:
    """The import contracts of pyproject.toml hold."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_is_light() -> None:
    """Importing the contract loads neither torch nor BentoML nor a raster library."""
    code = (
        "import sys, geobento, geobento.cli, geobento.client; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "geobento" in loaded
    assert not loaded & {"torch", "bentoml", "rasterio", "pystac", "odc", "imagery", "models"}


@pytest.mark.parametrize("name", geobento.__all__)
def test_public_names_exist_and_are_described(name: str) -> None:
    """Everything in `__all__` can be imported and says what it is."""
    value = getattr(geobento, name)
    assert name == "__version__" or value.__doc__


def test_no_shared_code_knows_a_model() -> None:
    """Outside a model's own module and the catalog, no code names a model."""
    allowed = {Path("models/mosaiks.py"), Path("models/catalog.py")}
    rooms = ("edge", "geobento", "imagery", "models", "pipeline", "runners")
    for room in rooms:
        for file in sorted((ROOT / room).rglob("*.py")):
            code = [
                line
                for line in file.read_text().splitlines()
                if "mosaiks" in line.lower() and "==" in line
            ]
            assert not code or file.relative_to(ROOT) in allowed, (file, code)
