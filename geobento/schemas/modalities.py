"""Synonyms of modality names."""

from __future__ import annotations

from collections.abc import Iterable

SYNONYMS = (
    ("s1", "sentinel-1", "s1-grd", "sentinel-1-grd", "s1-rtc", "sentinel-1-rtc"),
    ("s2", "sentinel-2", "s2-l2a", "sentinel-2-l2a", "s2-sr", "sentinel-2-sr"),
    ("s2_l1c", "sentinel-2-l1c", "s2-toa", "sentinel-2-toa"),
    ("dem", "elevation", "copernicus-dem", "cop-dem"),
)
"""Each line is one kind of imagery, its usual name first."""


def _normalize(name: str) -> str:
    """The name without case, dashes, underscores and spaces."""
    return "".join(filter(str.isalnum, name)).lower()


_CANONICAL = {_normalize(name): names[0] for names in SYNONYMS for name in names}


def find_modality_name(name: str, available: Iterable[str]) -> str | None:
    """The modality of a model that a name means; None: none of them.

    Exact names have priority over synonyms.
    """
    candidates = list(available)
    for meaning in (lambda text: text, _normalize, lambda text: _CANONICAL.get(_normalize(text))):
        target = meaning(name)
        if target is not None:
            for candidate in candidates:
                if meaning(candidate) == target:
                    return candidate
    return None
