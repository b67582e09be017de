"""When a JPEG may be decoded at half its size. Pure."""

from __future__ import annotations

from geobento.schemas.cards import ImageInput
from models.preprocessing.images import resized_shape

MIN_DOWNSCALE = 5
"""Factor by which the resize has to shrink the half-size image, in both sides."""


def can_decode_at_half_size(width: int, height: int, spec: ImageInput) -> bool:
    """Whether decoding at half the size is as good as decoding in full.

    It is where the resize still shrinks the half-size image at least `MIN_DOWNSCALE` times. Then
    the cosine between the network inputs of both is at least 0.9999: measured for every card's
    resize on photographs (0.99998), smooth images, 1/f noise, photographs with sensor noise, text
    and two-color checkerboards. White noise is left out: resized, it is nearly gray, and rounding
    to 8 bits alone costs more. With a factor of 4, noisy images barely reach 0.9999; a quarter of
    the size fails for text.

    Images with odd sides are decoded in full: the half would be shifted by up to half a pixel,
    which costs ten times as much as everything else. Width and height may be swapped, as in EXIF
    orientations: the resizes treat both alike.

    Args:
        width: Of the full image, pixels.
        height: Of the full image, pixels.
        spec: How the image is prepared. Never where it is not resized.
    """
    if spec.resize == "none" or width % 2 or height % 2:
        return False
    target_height, target_width = resized_shape(height, width, spec)
    return min(width / target_width, height / target_height) >= 2 * MIN_DOWNSCALE
