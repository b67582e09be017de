"""Galileo's card, and the kinds of its inputs."""

from __future__ import annotations

from models.cards import load_card

CARD = load_card("galileo")

S2_BANDS = CARD.modalities["s2"].sensor.bands

PRIMARY_MODALITIES = ("s1", "s2")
"""Images over time. Requests name one of them; all other modalities are auxiliary inputs."""
SERIES_MODALITIES = ("era5", "terraclimate", "viirs")
"""One value per time step for the whole region."""
MAP_MODALITIES = ("srtm", "dynamic_world", "worldcereal")
"""Images without a time axis."""
LAND_COVER_MODALITIES = ("dynamic_world", "worldcereal")
"""Maps of which the network also reads the mean over the region."""
TOKENS_PER_PATCH = {"s2": 6, "s1": 1}
"""Tokens per patch and frame. Sentinel-2 has five groups of bands, and NDVI."""

DEFAULT_MONTH = 5
"""Month of frames without a date, counted from 0 (June), as in the reference implementation."""
DEFAULT_RESOLUTION_M = 10.0
"""Pixel size of samples without a grid, as in the reference implementation."""
MAX_TOKENS = 16_384
"""Limit on the tokens of one sample; the cost of attention grows with their square."""
