"""The generated clients: their types, and a live service asked by each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from clients.generate import DOCUMENT, PYTHON, TYPESCRIPT
from tests.conftest import ROOT
from tests.servers import Keyed

HERE = Path(__file__).resolve().parent
IMAGE = str(ROOT / "tests" / "data" / "field.jpg")
WANTED = {
    "image": [[1024]],
    "pooled": [[1024]],
    "grid_crs": "EPSG:32736",
    "error": [404, "model_not_found"],
    "without_key": [401, "unauthorized"],
}

pytestmark = pytest.mark.slow


def made(folder: Path) -> Path:
    """A client that was made from the document as it is; without one CI fails, others skip."""
    if not (folder / DOCUMENT.name).exists():
        without = folder == TYPESCRIPT and not (shutil.which("node") and shutil.which("npm"))
        why = "node and npm are not there" if without else "not generated: make clients"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    assert (folder / DOCUMENT.name).read_bytes() == DOCUMENT.read_bytes(), "stale: make clients"
    return folder


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What a command prints; it has to end well."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(output: Any) -> None:
    """Vectors and grids have their shapes, failures their types."""
    dim, rows, columns = output.pop("grid")
    assert (dim, rows > 1, columns > 1) == (1024, True, True)
    alone, failed = output.pop("batch")
    assert (alone, failed) == ([1024], "no_imagery")
    assert output == WANTED


def test_the_python_client_is_typed() -> None:
    """The package and a program that uses it pass strict checks."""
    package = made(PYTHON)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull)
    cache = ("--cache-dir", package / ".mypy_cache")
    run(*mypy, *cache, package / "geobento_api", HERE / "drive.py", MYPYPATH=str(package))


def test_the_python_client_asks(keyed_service: Keyed) -> None:
    """An image, a vector and a grid of a region, a batch with a bad item, errors."""
    package = made(PYTHON)
    arguments = (keyed_service.url, keyed_service.key, IMAGE)
    check(orjson.loads(run(sys.executable, HERE / "drive.py", *arguments, PYTHONPATH=str(package))))


def test_the_typescript_client_asks(keyed_service: Keyed) -> None:
    """The same, from a program that the compiler accepts with strict checks."""
    module = made(TYPESCRIPT)
    shutil.copy(HERE / "drive.ts", module)
    run("node", "node_modules/typescript/bin/tsc", "-p", ".", cwd=module)
    arguments = (keyed_service.url, keyed_service.key, IMAGE)
    check(orjson.loads(run("node", "out/drive.js", *arguments, cwd=module)))
