"""Model cards from YAML files.

A card file has the fields of `ModelCard`. Some may be written shorter there:

- `true_color` in place of a modality is Sentinel-2 in true color, at the input size of images.
- `normalization`: one number stands for every band; `offset` is 0 and `scale` is 1 unless stated.
  `z_score: {mean, std, unit}` stands for `(x * unit - mean) / std`, and
  `two_sigma: {mean, std, top}` maps two standard deviations around the mean to 0..`top`.
- `config_schema` gets the options of time series from the modalities that have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from geobento.schemas.cards import ModelCard
from models.preprocessing.true_color import true_color_modality

ROOT = Path(__file__).parent
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader, in C where libyaml is installed."""


def load_card(family: str, name: str = "card") -> ModelCard:
    """The card ``models/<family>/<name>.yaml``.

    Args:
        family: Package of the model.
        name: File in that package, without its ending.

    Raises:
        ValidationError: The file is not a card.
    """
    with (ROOT / family / f"{name}.yaml").open(encoding="utf-8") as stream:
        record: dict[str, Any] = yaml.load(stream, Loader=LOADER)
    modalities = record.get("modalities", {})
    for key, modality in modalities.items():
        if modality == "true_color":
            image = record["image"]
            modalities[key] = true_color_modality(image.get("crop") or image["size"])
            continue
        bands = modality.get("selectable_bands") or modality["sensor"]["bands"]
        modality["normalization"] = expand_normalization(modality["normalization"], len(bands))
    return _with_option_schema(ModelCard.model_validate(record))


def expand_normalization(record: Mapping[str, Any], bands: int) -> dict[str, Any]:
    """The fields of `Normalization`, one value per band, from their short form.

    Args:
        record: As in a card file.
        bands: Number of bands.
    """
    fields = {"offset": 0.0, "scale": 1.0, **record}
    if (statistics := fields.pop("z_score", None)) is not None:
        unit = float(statistics.get("unit", 1.0))
        mean, std = (_per_band(statistics[name], bands) for name in ("mean", "std"))
        fields["offset"] = [value / unit for value in mean]
        fields["scale"] = [unit / value for value in std]
    elif (statistics := fields.pop("two_sigma", None)) is not None:
        top = float(statistics.get("top", 1.0))
        mean, std = (_per_band(statistics[name], bands) for name in ("mean", "std"))
        fields["offset"] = [m - 2 * s for m, s in zip(mean, std, strict=True)]
        fields["scale"] = [top / (4 * value) for value in std]
    return {
        name: _per_band(value, bands) if name in ("offset", "scale", "mean", "std") else value
        for name, value in fields.items()
    }


def _per_band(value: float | Sequence[float], bands: int) -> list[float]:
    values = list(value) if isinstance(value, Sequence) else [value] * bands
    if len(values) not in (0, bands):
        raise ValueError(f"{len(values)} values for {bands} bands")
    return [float(number) for number in values]


def _with_option_schema(card: ModelCard) -> ModelCard:
    """The card with `config_schema` as a JSON schema that has the options of its time series."""
    properties = dict(card.config_schema.get("properties", {}))
    for modality in card.modalities.values():
        if modality.series is not None:
            properties.update(modality.series.options)
    schema = {"type": "object", **card.config_schema, "properties": properties}
    return card.model_copy(update={"config_schema": schema})
