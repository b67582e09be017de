"""AnySat's card, and the sizes of its inputs."""

from __future__ import annotations

from models.cards import load_card

CARD = load_card("anysat")

CELL_M = 10
"""Ground size of a cell, meters. Patches are a multiple of it."""
PIXELS_PER_CELL = {"aerial": 50, "s2": 1, "s1": 1}
"""Pixels along a cell by modality, in the order in which the network reads them."""
SUBPATCHES_PER_CELL = {"aerial": 25, "s2": 1, "s1": 1}
"""Sub-patches of a cell."""
SERIES_MODALITIES = ("s2", "s1")
"""Modalities with a time axis."""
RATIO_MEAN, RATIO_STD = 0.6116273403167725, 1.0343183279037476
"""Statistics of the third radar channel, the difference of VV and VH in decibels."""

MAX_TOKENS = 4096
"""Limit on patches times modalities; the reference implementation advises at most 1024 patches."""
MAX_SUBPATCHES = 65_536
"""Limit on the sub-patches of a region, over all modalities."""
MAX_AERIAL_PATCH_M = 100
"""Larger patches have more than 2500 sub-patches; the cost of attention grows with their square."""
MAX_MISALIGNMENT_M = CELL_M / 2
"""Largest distance between the edges of two modalities, meters."""
