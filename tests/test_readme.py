"""The README is true."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_generated_parts_are_up_to_date(mosaiks_stored: object, demo_archive: object) -> None:
    """Tables and answers are what `make readme` would write."""
    command = [sys.executable, "-m", "docs.generate", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", re.findall(r"^\$ make (\w+)", README, re.MULTILINE))
def test_its_make_targets_exist(target: str) -> None:
    """Every `make` command that the README shows is a target."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_its_links_lead_somewhere(target: str) -> None:
    """Relative links name files of the repository."""
    assert (ROOT / target).exists()
