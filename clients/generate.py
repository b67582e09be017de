"""Generate the clients from ``docs/openapi.json`` into ``build/clients``. Run by ``make clients``.

``build/clients/python`` holds the package ``geobento_api``, made by openapi-python-client in an
environment of its own; ``build/clients/typescript`` a module made by openapi-typescript, where
node and npm are on the machine. Beside each lies the document that it was made from.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DOCUMENT = ROOT / "docs" / "openapi.json"
TARGET = ROOT / "build" / "clients"
PYTHON, TYPESCRIPT = TARGET / "python", TARGET / "typescript"


def python() -> None:
    """The Python client."""
    tools = TARGET / ".python-generator" / "bin"
    _run("pip", "install", "-q", "-r", HERE / "python.txt", tools=_environment(tools))
    _run(
        "openapi-python-client",
        "generate",
        *("--path", DOCUMENT, "--config", HERE / "python.yaml", "--meta", "none"),
        *("--overwrite", "--fail-on-warning", "--output-path", PYTHON / "geobento_api"),
        tools=tools,
    )
    (PYTHON / "geobento_api" / "py.typed").touch()
    shutil.copy(DOCUMENT, PYTHON)


def typescript() -> None:
    """The TypeScript client."""
    shutil.copytree(HERE / "typescript", TYPESCRIPT, dirs_exist_ok=True)
    _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=TYPESCRIPT)
    _run("node", "generate.mjs", DOCUMENT, "schema.d.ts", cwd=TYPESCRIPT)
    shutil.copy(DOCUMENT, TYPESCRIPT)


def _environment(tools: Path) -> Path:
    if not tools.exists():
        venv.create(tools.parent, with_pip=True)
    return tools


def _run(name: str, *arguments: str | Path, tools: Path | None = None, cwd: Path = ROOT) -> None:
    path = os.environ["PATH"] if tools is None else f"{tools}{os.pathsep}{os.environ['PATH']}"
    command = [shutil.which(name, path=path) or name, *map(str, arguments)]
    subprocess.run(command, cwd=cwd, env={**os.environ, "PATH": path}, check=True)


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    python()
    if shutil.which("node") and shutil.which("npm"):
        typescript()
    else:
        print("no TypeScript client: node and npm are not there", file=sys.stderr)
