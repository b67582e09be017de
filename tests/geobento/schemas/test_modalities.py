"""Names of modalities."""

from __future__ import annotations

import pytest

from geobento.schemas.modalities import SYNONYMS, _normalize, find_modality_name


@pytest.mark.parametrize(
    ("name", "offered", "expected"),
    [
        ("sentinel-1", ["s2", "s1"], "s1"),
        ("Sentinel 1", ["s2", "s1"], "s1"),
        ("SENTINEL1_GRD", ["s1"], "s1"),
        ("s2", ["sentinel-2-l2a"], "sentinel-2-l2a"),
        ("s2_l1c", ["s2"], None),
        ("S2", ["s2_l1c", "s2"], "s2"),
        ("S2_10B", ["rgb", "s2_10b"], "s2_10b"),
        ("s2_l2a", ["s2", "s2_l2a"], "s2_l2a"),
        ("elevation", ["dem"], "dem"),
        ("modis", ["s2"], None),
        ("", ["s2"], None),
    ],
)
def test_synonyms(name: str, offered: list[str], expected: str | None) -> None:
    """The model's own names first, then any case and dash, then synonyms."""
    assert find_modality_name(name, offered) == expected


def test_no_name_has_two_meanings() -> None:
    """Every name stands in one line."""
    plain = [_normalize(name) for names in SYNONYMS for name in names]
    assert len(plain) == len(set(plain))
