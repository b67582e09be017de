"""Which models read the bands of a sensor. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geobento.schemas import modalities
from geobento.schemas.cards import ServedModel
from geobento.schemas.errors import ModelError
from geobento.schemas.plan import ModelCompatibility
from geobento.schemas.specs import SensorSpec
from models.preprocessing import bands


def model_compatibility(
    sensor: SensorSpec,
    models: Sequence[ServedModel],
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[ModelCompatibility]:
    """For every model whether it takes the sensor's bands, and in one sentence why not.

    As in a request, the bands decide; where the collection is not the one that the model is made
    for, the note says so.

    Args:
        sensor: The sensor.
        models: The models.
        options: Options of models by their ids; they may describe bands.
    """
    return [
        _check_model(sensor, served, (options or {}).get(served.card.id, {})) for served in models
    ]


def _check_model(
    sensor: SensorSpec, served: ServedModel, options: Mapping[str, Any]
) -> ModelCompatibility:
    card = served.card
    offered = [name for name in card.modalities if name in served.modalities]
    if not offered:
        return _incompatible(served, f"{card.id} reads no satellite imagery")
    if sensor.modality is not None:
        named = modalities.find_modality_name(sensor.modality, offered)
        if named is None:
            return _incompatible(
                served,
                f"{card.id} does not read modality {sensor.modality!r} but {', '.join(offered)}",
            )
        offered = [named]
    reasons, fitting = [], []
    for name in offered:
        try:
            bands.check_bands(card, name, sensor.bands, options)
            fitting.append(name)
        except ModelError as error:
            reasons.append(error.message)
    if not fitting:
        return _incompatible(served, "; ".join(reasons))
    made_for = {name: card.modalities[name].sensor.collection for name in fitting}
    exact = [name for name in fitting if made_for[name] == sensor.collection]
    chosen = (exact or fitting)[0]
    note = None if exact else f"{card.id} is made for {made_for[chosen]}: check the units"
    return ModelCompatibility(model=card.id, compatible=True, modality=chosen, note=note)


def _incompatible(served: ServedModel, reason: str) -> ModelCompatibility:
    return ModelCompatibility(model=served.card.id, compatible=False, modality=None, note=reason)
