"""Settings of glibc's allocator for runners."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of two settings of glibc, see mallopt(3)."""
MMAP_THRESHOLD_BYTES = 32 * 2**20
"""Larger blocks go back to the system at once. Old versions of glibc accept no higher value."""
TRIM_THRESHOLD_BYTES = 64 * 2**20
"""Free bytes that each thread may keep."""


def configure_malloc() -> bool:
    """Keep memory that a forward pass has freed for the next one.

    By default glibc gives the memory of large intermediate results back to the system, which fills
    it with zeros again for the next ones, page by page. That costs most where a network computes
    little with large arrays.

    Returns:
        Whether the C library accepted the settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        and mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
    )
