"""Memory of forward passes is used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORWARDS = """
import resource, sys
import numpy as np
from runners import malloc

kept = malloc.configure_malloc() if sys.argv[1] == "kept" else True

def forward():
    return [np.ones(6 * 2**20, "u1") for _ in range(4)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

forward()
before = faults()
for _ in range(20):
    forward()
print(faults() - before if kept else -1)
"""
PAGES = 6 * 2**20 // 4096
"""Of one intermediate result."""


def new_pages(how: str) -> int:
    """Pages that twenty forwards in a fresh process got from the system, after the first."""
    result = subprocess.run(
        [sys.executable, "-c", FORWARDS, how], capture_output=True, text=True, check=True
    )
    return int(result.stdout)


def test_the_next_forward_gets_no_new_pages() -> None:
    """Where glibc by itself gives them back each time."""
    cached = new_pages("kept")
    if cached < 0:
        pytest.skip("not with this C library")
    assert cached < PAGES
    assert new_pages("as it is") > 10 * PAGES
