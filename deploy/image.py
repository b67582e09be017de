"""Make a container image of the newest Bento, with whichever program for that is there.

Run by ``make image``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable

import bentoml

SERVERS = ("docker", "nerdctl")
"""Programs that need a server, which may not run."""
ALONE = ("podman", "buildah")
"""Programs that do without."""


def answers(program: str) -> bool:
    """Whether a program is there, and its server too."""
    if shutil.which(program) is None:
        return False
    if program not in SERVERS:
        return True
    return subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0


def back_end(works: Callable[[str], bool] = answers) -> str | None:
    """The first program that works; None: there is none."""
    return next((program for program in (*SERVERS, *ALONE) if works(program)), None)


def command(tag: str, program: str, torch: str) -> list[str]:
    """What makes the image.

    Args:
        tag: Of the Bento, and of the image.
        program: What builds it.
        torch: Build of torch, as uv names them: `cpu`, `cu128`, ...
    """
    made = [sys.executable, "-m", "bentoml", "containerize", tag, "--backend", program]
    return [*made, "--image-tag", tag, "--opt", f"build-arg=UV_TORCH_BACKEND={torch}"]


def main() -> None:
    """Make the image, and print its tag."""
    parser = argparse.ArgumentParser(description="Make an image of the newest Bento.")
    parser.add_argument("--torch", default="cpu", help="build of torch: cpu (default), cu128, ...")
    torch = parser.parse_args().torch
    program = back_end()
    if program is None:
        raise SystemExit(f"no program that makes images; one of {', '.join((*SERVERS, *ALONE))}")
    tag = str(bentoml.bentos.get("geobento:latest").tag)
    raise SystemExit(subprocess.run(command(tag, program, torch), check=False).returncode)


if __name__ == "__main__":
    main()
