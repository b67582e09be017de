"""When a JPEG may be decoded at half its size. Pure; decided by what the network reads."""

from __future__ import annotations

from geobento.schemas.cards import ImageInput
from models.preprocessing.images import resized_shape

MIN_DOWNSCALE = 5
"""How much larger than after the resize a picture of half the size has to be, in both sides."""


def can_decode_at_half_size(width: int, height: int, spec: ImageInput) -> bool:
    """Whether decoding at half the size is as good as decoding in full.

    It is where the resize still shrinks the half at least `KEPT` times. Then the cosine between
    what a network reads from the half and from the whole is at least 0.9999: measured for every
    card's way of resizing on photographs (0.99998), smooth pictures, 1/f noise, photographs with
    sensor noise, text, and checks in two colours. White noise is left out: its resize is grey up
    to a few of 255 levels, and rounding to 8 bits alone costs more than that. With a factor of
    4, noisy pictures reach 0.9999 barely or not; a quarter of the size fails for text.

    Odd sides are decoded in full: their half would be shifted by up to half a pixel, which costs
    ten times as much as all the rest. Sides may be given as stored or as shown: the resizes treat
    both sides alike.

    Args:
        width: Of the whole picture, pixels.
        height: Of the whole picture, pixels.
        spec: How the picture is brought to the network. Never where it is taken as it is.
    """
    if spec.resize == "none" or width % 2 or height % 2:
        return False
    target_height, target_width = resized_shape(height, width, spec)
    return min(width / target_width, height / target_height) >= 2 * MIN_DOWNSCALE
