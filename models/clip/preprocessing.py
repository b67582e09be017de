"""How CLIP and the models after it see pictures."""

from __future__ import annotations

from geobento.schemas.cards import ImageInput

CLIP_IMAGE_INPUT = ImageInput(
    modality="image",
    size=224,
    resize="shorter_side",
    interpolation="bicubic",
    crop=224,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    pooling="native",
    normalize=True,
)
INITIAL_LOGIT_SCALE = 2.6593
"""Logarithm of the factor on cosines before training, 1 / 0.07."""
