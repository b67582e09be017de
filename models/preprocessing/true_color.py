"""Sentinel-2 as 8-bit images in true color, for networks that read images. Pure.

Papers on such networks do not say how digital numbers become an image. Here it is done as for the
images of EuroSAT (Helber et al., 1709.00029): reflectances from 0 to 0.275 fill the range. Brighter
values are clipped, and most land is as bright as in aerial images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geobento.schemas.cards import ImageInput, Modality, ModelCard, Normalization
from geobento.schemas.sample import Sample
from geobento.schemas.specs import SensorSpec
from models.preprocessing import images
from models.preprocessing.pixels import normalized

MAX_DIGITAL_NUMBER = 2750
"""Digital number that becomes 255."""
MIN_PIXELS = 16
"""Smallest height and width of a region, pixels; in smaller ones most values are interpolated."""


def true_color_modality(size: int) -> Modality:
    """Sentinel-2 in true color, for a network that reads images of one size."""
    return Modality(
        sensor=SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4", "B3", "B2")),
        units="digital numbers, surface reflectance x 10000; "
        f"0 to {MAX_DIGITAL_NUMBER} become 0 to 255 of an image",
        normalization=Normalization(
            offset=(0.0,) * 3, scale=(255 / MAX_DIGITAL_NUMBER,) * 3, clip=(0.0, 255.0)
        ),
        size=size,
        min_pixels=MIN_PIXELS,
    )


def render_image(sample: Sample, card: ModelCard, spec: ImageInput) -> NDArray[np.generic]:
    """A region as an image of exactly the size that the network reads.

    Nothing is cropped, so that the tokens cover the region; the aspect ratio is not kept.

    Args:
        sample: (3, H, W) digital numbers of a modality made by `true_color_modality`.
        card: Card of the model.
        spec: How it reads images.

    Returns:
        (side, side, 3), 0 to 255, as of `models.preprocessing.images.resize_and_crop`.

    Raises:
        ModelError: Other bands than red, green, blue, or too few pixels.
    """
    levels = np.rint(normalized(sample, card)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
    side = spec.crop or spec.size
    squash = spec.model_copy(update={"resize": "squash", "size": side, "crop": None})
    return images.resize_and_crop(image, squash)
