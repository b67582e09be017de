"""The offset of Sentinel-2 digital numbers since processing baseline 04.00. Pure."""

from __future__ import annotations

from typing import Any

from imagery.scenes import finite_float

BASELINE_OFFSET = -1000
"""Offset that harmonizes digital numbers of processing baseline 04.00 and later."""


def harmonization_offset(
    *, is_applied: bool, stated: float | None, baseline: str | None, is_collection_1: bool
) -> int:
    """The offset that harmonizes the digital numbers of a Sentinel-2 scene: 0 or -1000.

    Processing baseline 04.00 and later adds 1000. Some catalogs subtract it again. The item's
    metadata decides, never its date, and what it states goes before what its baseline implies.
    A stated offset that is neither cannot be meant in digital numbers, and is not used.

    Args:
        is_applied: Whether the catalog says that it has subtracted the 1000.
        stated: Offset that the item states, in digital numbers.
        baseline: Processing baseline of the item.
        is_collection_1: Whether the item is of Sentinel-2 Collection 1, which has the offset
            throughout.
    """
    if is_applied:
        return 0
    if stated is not None and round(stated, 3) in (0, BASELINE_OFFSET):
        return round(stated)
    return BASELINE_OFFSET if is_collection_1 or has_baseline_offset(baseline) else 0


def has_baseline_offset(baseline: Any) -> bool:
    """Whether a Sentinel-2 processing baseline adds 1000 to digital numbers."""
    return (finite_float(baseline) or 0.0) >= 4
