"""How the cases of AnySat are read: series with their dates, radar as power, aerial images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.sample import Sample
from inference.engines.torch import TorchModel
from models.anysat.card import CARD
from models.base import Model
from models.types import Encoded, Inputs

INPUT_TOLERANCE = 1e-5
OUTPUT_TOLERANCE = 1e-4


def prepared(model: Model, arrays: Mapping[str, Any], record: Mapping[str, Any]) -> Inputs:
    """The case's arrays as samples of one region."""
    names = {name: "image" if name == "s2" else f"image__{name}" for name in record["modalities"]}
    assert set(names.values()) == {name for name in arrays if name.startswith("image")}
    first, *others = (_sample(name, arrays) for name in ("s2", "s1", "aerial") if name in names)
    sample = replace(first, extras={other.modality: other for other in others})
    return model.with_options({"patch_size": record["patch_size_m"]}).prepare(sample)


def stages(
    loaded: TorchModel, inputs: Inputs, encoded: Encoded
) -> dict[str, tuple[NDArray[Any], float]]:
    """Inputs by sensor, and the class token."""
    inputs_by_stage = {
        f"network_input{'' if name == 's2' else f'__{name}'}": (inputs[name], INPUT_TOLERANCE)
        for name in CARD.modalities
        if name in inputs
    }
    assert encoded.vector is not None
    return inputs_by_stage | {"cls": (encoded.vector[0].numpy(), OUTPUT_TOLERANCE)}


def _sample(name: str, arrays: Mapping[str, Any]) -> Sample:
    bands = CARD.modalities[name].sensor.bands
    suffix = "" if name == "s2" else f"__{name}"
    image = arrays[f"image{suffix}"]
    if name == "aerial":
        return Sample(image, bands, name)
    days = arrays[f"dates_iso{suffix}"]
    times = tuple(datetime.fromisoformat(str(day)).replace(tzinfo=UTC) for day in days)
    assert [time.timetuple().tm_yday - 1 for time in times] == arrays[f"dates{suffix}"].tolist()
    if name == "s1":
        decibels = image.astype(np.float64)
        np.testing.assert_array_equal(decibels[:, 0] - decibels[:, 1], decibels[:, 2])
        image = 10 ** (decibels[:, :2] / 10)
    return Sample(image, bands, name, times=times)
