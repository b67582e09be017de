"""Sentinel-2 as the 8-bit pictures that networks for pictures read. Pure.

The authors of such networks do not say how digital numbers become a picture. Here it is done as
for the pictures of EuroSAT (Helber et al., 1709.00029): reflectances from 0 to 0.275 fill the
range. What is brighter is cut off, and most of the land is as bright as in aerial pictures.
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
"""Smallest height and width of a place, pixels: below, nearly all that is seen is interpolated."""


def true_color_modality(size: int) -> Modality:
    """The record of Sentinel-2 in true colour for a network that reads pictures of one size."""
    return Modality(
        sensor=SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4", "B3", "B2")),
        units="digital numbers, surface reflectance x 10000; "
        f"0 to {MAX_DIGITAL_NUMBER} become the 0 to 255 of a picture",
        normalization=Normalization(
            offset=(0.0,) * 3, scale=(255 / MAX_DIGITAL_NUMBER,) * 3, clip=(0.0, 255.0)
        ),
        size=size,
        min_pixels=MIN_PIXELS,
    )


def render_image(sample: Sample, card: ModelCard, spec: ImageInput) -> NDArray[np.generic]:
    """A place as a picture of exactly the size that the network reads.

    Nothing is cut off, so that the tokens cover the place; both sides are resized for themselves.

    Args:
        sample: (3, H, W) digital numbers of a modality made by `modality`.
        card: The record of the model.
        spec: How it reads pictures.

    Returns:
        (side, side, 3), 0 to 255, as of `models.preprocessing.images.resize_and_crop`.

    Raises:
        ModelError: Other bands than red, green, blue, or too few pixels.
    """
    levels = np.rint(normalized(sample, card)).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
    side = spec.crop or spec.size
    whole = spec.model_copy(update={"resize": "squash", "size": side, "crop": None})
    return images.resize_and_crop(picture, whole)
