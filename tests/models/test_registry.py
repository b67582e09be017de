"""The list of models."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from geobento.schemas.errors import ModelNotFound
from inference import pooling
from inference.engines.torch import TorchModel
from models.base import Model
from models.registry import MODEL_CLASSES, get_model_class, list_model_classes
from tests.conftest import ROOT
from tests.models import small

FAMILY = pytest.mark.parametrize("cls", list_model_classes(), ids=lambda cls: cls.card.id)


@FAMILY
def test_ids_and_aliases_lead_to_the_model(cls: type[Model]) -> None:
    """Every name of a card finds its class, whatever its case and the space around it."""
    for name in (cls.card.id, *cls.card.aliases):
        for written in (name, name.upper(), f" {name}\n"):
            assert get_model_class(written) is cls


def test_the_catalog_is_keyed_by_the_cards_ids() -> None:
    """What the catalog calls a model is what its card calls it."""
    assert [cls.card.id for cls in list_model_classes()] == list(MODEL_CLASSES)


def test_no_name_stands_for_two_models() -> None:
    """Ids and aliases are unique together, and all lower case, as names are looked up."""
    names = [name for cls in list_model_classes() for name in (cls.card.id, *cls.card.aliases)]
    assert len(set(names)) == len(names)
    assert [name.lower() for name in names] == names


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nope", ""), ("", ""), ("mosaik", "'mosaiks'"), ("mosaiks:1", "'mosaiks'")],
)
def test_an_unknown_name(name: str, hint: str) -> None:
    """The error has the name, all models, and one that was probably meant."""
    with pytest.raises(ModelNotFound) as caught:
        get_model_class(name)
    assert repr(name) in caught.value.message
    end = f" (did you mean {hint}?)" if hint else ""
    assert caught.value.message.endswith(", ".join(sorted(MODEL_CLASSES)) + end)
    assert caught.value.field == "model"
    assert caught.value.detail == {"available": sorted(MODEL_CLASSES)}


@FAMILY
def test_examples_go_through(cls: type[Model]) -> None:
    """A blank sample of every modality is prepared, and warms the network up."""
    released = cls(cls.default_config(cls.card.default_variant))
    assert released.dim == cls.card.variants[cls.card.default_variant].dim
    config = small.config(cls)
    model = cls(config)
    for modality in model.modalities():
        inputs = model.example_inputs(modality)
        assert all(np.isfinite(array).all() for array in inputs.values())
    network = model.network()
    network.load_state_dict(cls.seeded_state_dict(config), strict=True)
    TorchModel(model, network).warm_up()


@pytest.mark.parametrize(
    "cls",
    [cls for cls in list_model_classes() if cls.card.feature == "mean"],
    ids=lambda cls: cls.card.id,
)
def test_a_feature_that_is_the_mean_of_the_grid(cls: type[Model]) -> None:
    """Where the card says so, both are equal, so that it can be taken over part of a region."""
    config = small.config(cls)
    model = cls(config)
    network = model.network()
    network.load_state_dict(cls.seeded_state_dict(config), strict=True)
    loaded = TorchModel(model, network)
    for modality in model.modalities():
        encoded = loaded.encode([model.example_inputs(modality)])
        torch.testing.assert_close(
            pooling.pool(encoded, "native"), pooling.pool(encoded, "mean"), atol=1e-4, rtol=0
        )


@FAMILY
def test_cards_hold_together(cls: type[Model]) -> None:
    """Defaults exist, and the statistics have one value per band."""
    card = cls.card
    assert card.default_variant in card.variants
    assert card.default_modality is None or card.default_modality in card.modalities
    assert type(card).model_validate_json(card.model_dump_json()) == card
    for spec in card.modalities.values():
        stats = spec.normalization
        assert len(stats.offset) == len(stats.scale) == len(spec.bands)
        assert {len(stats.mean), len(stats.std)} <= {0, len(spec.bands)}
        assert set(spec.sensor.bands) <= set(spec.bands)
        assert set(spec.wavelengths_um) in (set(), set(spec.bands))


def test_the_list_loads_no_model() -> None:
    """Knowing which models there are costs neither torch nor a model's module."""
    code = "import sys, models.registry; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "models.registry" in loaded
    assert not loaded & {"torch", *(target.partition(":")[0] for target in MODEL_CLASSES.values())}
