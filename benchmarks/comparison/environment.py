"""A virtual environment for each peer, kept under ``build/peers``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.service import ROOT

PEERS_DIR = ROOT / "build" / "peers"
TORCH = "torch==2.13.0" + ("+cpu" if sys.platform == "linux" else "")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def ensure_interpreter(name: str) -> Path:
    """The Python of a peer, after an environment with its exact requirements is made if need be.

    Only what the file lists is installed, none of what the packages ask for beside it: so no
    CUDA comes with torch.

    Args:
        name: Of the requirements file beside this module, without its ending.

    Raises:
        subprocess.CalledProcessError: Something could not be installed.
    """
    requirements = Path(__file__).with_name(f"{name}.txt")
    folder = PEERS_DIR / f"{name}-{_digest(requirements)}"
    python = folder / "bin" / "python"
    finished = folder / "finished"
    if finished.exists():
        return python
    print(f"installing {name} into {folder.relative_to(ROOT)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    subprocess.run([*pip, "-r", requirements], check=True)
    subprocess.run([*pip, "--retries", "1", "--extra-index-url", TORCH_INDEX, TORCH], check=True)
    finished.touch()
    return python


def _digest(requirements: Path) -> str:
    """Of all that the environment is made of."""
    made_of = f"{sys.version_info[:2]} {TORCH} {requirements.read_text()}"
    return hashlib.sha256(made_of.encode()).hexdigest()[:12]
