"""The README is true."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
MAX_LINES = 150


def test_it_is_short() -> None:
    """A newcomer reads it in one sitting; the rest is in docs/."""
    assert len(README.splitlines()) < MAX_LINES


def test_generated_parts_are_up_to_date(mosaiks_stored: object, demo_archive: object) -> None:
    """Tables and answers of the README and of docs/ are what `make docs-generate` would write."""
    command = [sys.executable, "-m", "docs.generate", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("target", re.findall(r"^\$ make (\w+)", README, re.MULTILINE))
def test_its_make_targets_exist(target: str) -> None:
    """Every `make` command that the README shows is a target."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
