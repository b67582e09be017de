"""What becomes of memory that a forward pass has freed."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of two settings of glibc, see mallopt(3)."""
MMAP_THRESHOLD_BYTES = 32 * 2**20
"""Bytes; what is larger goes back to the system at once. Old versions of glibc accept no more."""
TRIM_THRESHOLD_BYTES = 64 * 2**20
"""Bytes that each thread may keep."""


def configure_malloc() -> bool:
    """Have this process keep it for the next forward pass.

    By itself glibc gives back most of the memory of large intermediate results, and for the next
    ones the system fills it with zeros anew, page by page, which weighs most where a network
    computes little with much.

    Returns:
        Whether this is a C library that can.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        and mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
    )
