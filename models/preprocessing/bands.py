"""Bands of a request checked against a card. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError
from geobento.suggestions import did_you_mean


def check_bands(
    card: ModelCard, modality: str, bands: tuple[str, ...], options: Mapping[str, Any]
) -> None:
    """Check the bands of a sensor or a sample against the card.

    Args:
        card: The model's card.
        modality: One of its modalities.
        bands: Names of the bands, in order.
        options: Options of the model.

    Raises:
        ModelError: The model does not read these bands; the message lists the accepted ones.
    """
    spec = card.modalities[modality]
    if spec.band_options is not None and spec.band_options in options:
        return
    got = f"got {', '.join(bands)}{did_you_mean(bands, spec.selectable_bands or spec.sensor.bands)}"
    if not spec.selectable_bands:
        if bands != spec.sensor.bands:
            raise ModelError(
                f"{card.id} reads the bands {', '.join(spec.sensor.bands)} for modality "
                f"{modality!r}, in this order; {got}",
                field="sensor.bands",
            )
    elif len(set(bands)) < len(bands) or not set(bands) <= set(spec.selectable_bands):
        others = (
            f"; others have to be described by the option {spec.band_options}"
            if spec.band_options is not None
            else ""
        )
        raise ModelError(
            f"{card.id} reads any of the bands {', '.join(spec.selectable_bands)} for modality "
            f"{modality!r}, each once{others}; {got}",
            field="sensor.bands",
        )
