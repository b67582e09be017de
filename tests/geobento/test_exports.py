"""What `import geobento` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import geobento
from tests.conftest import ROOT


def light() -> set[str]:
    """The modules that the contract must not need, as the import contract lists them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (c for c in contracts["contracts"] if c.get("source_modules") == ["geobento"])
    return set(contract["forbidden_modules"])


def test_everything_exported_is_there() -> None:
    """A star import gives exactly the names of `__all__`."""
    names: dict[str, object] = {}
    exec("from geobento import *", names)
    del names["__builtins__"]
    assert names == {name: getattr(geobento, name) for name in geobento.__all__}


def test_exports_are_sorted() -> None:
    """`__all__` is in the order that ruff's RUF022 asks for."""
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "check", "--isolated", "--select", "RUF022", "geobento/__init__.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_importing_is_light() -> None:
    """A client that only asks a server needs no torch, no BentoML, no raster library."""
    code = "import sys, geobento; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "geobento" in loaded
    assert {"torch", "bentoml", "rasterio"} <= light()
    assert not loaded & light()
