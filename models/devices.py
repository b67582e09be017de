"""Where forward passes run."""

from __future__ import annotations

import torch

from geobento.errors import SettingsError
from geobento.specs import Device


def choose(wanted: Device) -> str:
    """The torch device for a wish: ``auto`` is the GPU where there is one.

    Raises:
        SettingsError: A GPU is wanted and torch sees none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise SettingsError("GEOBENTO_DEVICE is 'cuda', but torch sees no GPU; accepted: auto, cpu")
    if wanted == "cpu" or not available:
        return "cpu"
    # Otherwise convolutions would silently run in TF32, with a hundredth of float32's precision.
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"
