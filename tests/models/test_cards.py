"""Cards from YAML files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from geobento.schemas.cards import ModelCard, Normalization
from models import cards
from models.registry import list_model_classes
from tests.conftest import ROOT

MINIMAL = """
id: small
title: Small
kind: on_the_fly
paper: none
summary: none
licence: none
variants: {only: {dim: 4, title: only}}
default_variant: only
pooling: none
weights: {source: seeded, licence: none}
"""
IMAGE = "image: {modality: image, size: 256, crop: 224, resize: shorter_side}\n"


def load(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """The card that a file with this text holds."""
    monkeypatch.setattr(cards, "ROOT", tmp_path)
    (tmp_path / "small").mkdir(exist_ok=True)
    (tmp_path / "small" / "card.yaml").write_text(text)
    return cards.load_card("small")


def expanded(record: dict[str, object]) -> Normalization:
    """The record of two bands in full."""
    return Normalization.model_validate(cards.expand_normalization(record, 2))


def test_one_number_stands_for_every_band() -> None:
    """Offset 0 and scale 1 are left out."""
    assert expanded({}) == Normalization(offset=(0.0, 0.0), scale=(1.0, 1.0))
    assert expanded({"scale": 0.5, "clip": [0, 1], "mean": [1, 2], "std": 2}) == Normalization(
        offset=(0.0, 0.0), scale=(0.5, 0.5), clip=(0.0, 1.0), mean=(1.0, 2.0), std=(2.0, 2.0)
    )
    with pytest.raises(ValueError, match="3 values for 2 bands"):
        expanded({"scale": [1, 2, 3]})


def test_statistics_become_offset_and_scale() -> None:
    """Z-scores in a unit, and two deviations around the mean to a range."""
    scores = expanded({"z_score": {"mean": [0.5, 1], "std": [0.25, 2], "unit": 0.5}})
    assert scores == Normalization(offset=(1.0, 2.0), scale=(2.0, 0.25))
    two = expanded({"two_sigma": {"mean": [5, 6], "std": [1, 2], "top": 8}, "clip": [0, 8]})
    assert two == Normalization(offset=(3.0, 2.0), scale=(2.0, 1.0), clip=(0.0, 8.0))


def test_true_color_has_the_size_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modality of red, green and blue, at the side that the network reads."""
    card = load(MINIMAL + IMAGE + "modalities: {rgb: true_color}", tmp_path, monkeypatch)
    assert card.modalities["rgb"].sensor.bands == ("B4", "B3", "B2")
    assert card.modalities["rgb"].size == 224


def test_options_of_time_series_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After those that the file has."""
    card = load(
        MINIMAL
        + """
modalities:
  s1:
    sensor: {collection: c, bands: [VV]}
    units: power
    normalization: {}
    series: {default_frames: 2, max_frames: 5}
config_schema: {properties: {patch_size: {type: integer}}}
""",
        tmp_path,
        monkeypatch,
    )
    assert list(card.config_schema["properties"]) == ["patch_size", "n_frames", "temporal_mode"]
    assert card.config_schema["type"] == "object"
    assert card.config_schema["properties"]["n_frames"]["maximum"] == 5


@pytest.mark.parametrize("line", ["colour: red", "kind: sometimes", "max_batch_size: many"])
def test_invalid_cards(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown fields and wrong values are errors, as everywhere."""
    with pytest.raises(ValidationError):
        load(MINIMAL + line, tmp_path, monkeypatch)


def test_code_in_a_card_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader makes plain values alone."""
    text = MINIMAL + 'summary: !!python/object/apply:os.system ["true"]'
    with pytest.raises(Exception, match="python/object/apply"):
        load(text, tmp_path, monkeypatch)


def test_dimensions_are_those_of_the_networks() -> None:
    """A card states the length of each variant's vectors."""
    for cls in list_model_classes():
        for name, variant in cls.card.variants.items():
            if name in cls.variants:
                assert cls(cls.default_config(name)).dim == variant.dim, (cls.card.id, name)


def test_cards_are_read_without_torch() -> None:
    """Neither torch nor a library of networks is imported for them."""
    code = (
        "import sys; from models.registry import list_model_classes; list_model_classes(); "
        "print([name for name in ('torch', 'timm', 'transformers', 'bentoml') "
        "if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
