"""Which bands a model reads."""

from __future__ import annotations

from typing import Any

import pytest

from geobento.schemas.cards import Modality, ModelCard, Normalization
from geobento.schemas.errors import ModelError
from geobento.schemas.specs import SensorSpec
from models.mosaiks.model import Mosaiks
from models.preprocessing import bands

CARD = Mosaiks.card

SENSOR = SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4", "B3"))


def card(choice: tuple[str, ...] = (), described_by: str | None = None) -> ModelCard:
    """A card with one modality of these rules."""
    count = len(choice or SENSOR.bands)
    statistics = Normalization(offset=(0.0,) * count, scale=(1.0,) * count)
    modality = Modality(
        sensor=SENSOR,
        units="",
        normalization=statistics,
        selectable_bands=choice,
        band_options=described_by,
    )
    return CARD.model_copy(update={"modalities": {"s2": modality}})


@pytest.mark.parametrize(
    ("made", "requested", "options"),
    [
        (card(), ("B4", "B3"), {}),
        (card(("B2", "B3", "B4")), ("B4", "B2"), {}),
        (card(("B2", "B3", "B4")), ("B3",), {}),
        (card(("B4", "B3"), "wavelengths_um"), ("B10", "X"), {"wavelengths_um": [1.3, 2]}),
    ],
)
def test_accepted(made: ModelCard, requested: tuple[str, ...], options: dict[str, Any]) -> None:
    """The sensor's own bands, a choice of those offered, and any that the request describes."""
    bands.check_bands(made, "s2", requested, options)


@pytest.mark.parametrize(
    ("made", "requested", "message"),
    [
        (card(), ("B3", "B4"), "in this order"),
        (card(), ("B4",), "B4, B3"),
        (card(("B4", "B3")), ("B4", "B8"), "any of the bands B4, B3"),
        (card(("B4", "B3")), ("B4", "B4"), "each once"),
        (card(("B4", "B3"), "wavelengths_um"), ("X",), "described by the option wavelengths_um"),
    ],
)
def test_refused(made: ModelCard, requested: tuple[str, ...], message: str) -> None:
    """The error names the field and the bands that there are."""
    with pytest.raises(ModelError, match=message) as caught:
        bands.check_bands(made, "s2", requested, {})
    assert caught.value.field == "sensor.bands"
