"""The models that a process answers for."""

from __future__ import annotations

import pytest

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError, ModelNotFound
from models.galileo.card import CARD as GALILEO
from models.satmaepp.model import SatMaePp
from models.weights.stored_model import StoredModel
from pipeline.model_registry import ModelHandle, ModelRegistry

SATMAE = SatMaePp.card


def variant(
    stored: StoredModel, card: ModelCard, name: str, modalities: tuple[str, ...] = ("s2",)
) -> ModelHandle:
    """A served variant of a family."""
    fields = {"card": card, "variant": name, "modalities": list(modalities)}
    return ModelHandle(stored.model(), stored.to_served_model().model_copy(update=fields), "cpu")


def opened(stored: StoredModel, name: str, *aliases: str) -> ModelHandle:
    """A served model under other names."""
    served = stored.to_served_model()
    card = served.card.model_copy(update={"id": name, "aliases": aliases})
    return ModelHandle(stored.model(), served.model_copy(update={"card": card}), "cpu")


def test_models_are_found_by_all_their_names(mosaiks_stored: StoredModel) -> None:
    """Ids and aliases, whatever their case; the listing keeps the order of opening."""
    second, first = opened(mosaiks_stored, "b", "bee", "beta"), opened(mosaiks_stored, "a")
    registry = ModelRegistry([second, first])
    assert [served.card.id for served in registry.served()] == ["b", "a"]
    for name in ("b", "bee", "Beta", " B "):
        assert registry.find(name) is second
    assert registry.find("A") is first


@pytest.mark.parametrize("names", [(), ("b",), ("b", "a")])
def test_models_that_are_not_served(mosaiks_stored: StoredModel, names: tuple[str, ...]) -> None:
    """The error lists what this process serves, not what the catalog knows."""
    registry = ModelRegistry(opened(mosaiks_stored, name) for name in names)
    with pytest.raises(ModelNotFound) as caught:
        registry.find("mosaik")
    assert caught.value.detail == {"available": sorted(names)}
    assert caught.value.message.endswith(f"available: {', '.join(sorted(names)) or 'none'}")
    assert caught.value.field == "model"


def test_models_that_are_not_imported(mosaiks_stored: StoredModel) -> None:
    """A model of the catalog that is not imported is named with the command that does it."""
    registry = ModelRegistry([opened(mosaiks_stored, "b")])
    with pytest.raises(ModelNotFound, match="run: geobento models import dino_v2_vits14"):
        registry.find("DINOv2-small")


def test_several_variants_of_a_model(mosaiks_stored: StoredModel) -> None:
    """The id finds the default, an alias or the option `variant` the one that it names."""
    base, nano = (variant(mosaiks_stored, GALILEO, name) for name in ("base", "nano"))
    registry = ModelRegistry([base, nano])
    assert registry.find("galileo") is nano
    assert registry.find("Galileo_Base") is base
    assert registry.find("galileo", {"variant": "base"}) is base
    assert [served.variant for served in registry.default_variants()] == ["nano"]
    assert ModelRegistry([base]).find("galileo") is base
    with pytest.raises(ModelNotFound, match="geobento models import galileo_nano"):
        ModelRegistry([base]).find("galileo_nano")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("tiny", "geobento models import galileo --variant tiny; served: base, nano"),
        ("huge", "there are nano, tiny, base; served: base, nano"),
        (["base"], "there are nano"),
    ],
)
def test_a_variant_that_is_not_served(
    mosaiks_stored: StoredModel, wanted: object, message: str
) -> None:
    """The error says how to import it, or which there are."""
    registry = ModelRegistry(variant(mosaiks_stored, GALILEO, name) for name in ("base", "nano"))
    with pytest.raises(ModelError, match=message) as caught:
        registry.find("galileo", {"variant": wanted})
    assert caught.value.field == "model_config.variant"


def test_the_modality_decides_between_variants(mosaiks_stored: StoredModel) -> None:
    """Where only one of the served variants reads what is asked for, that one is found."""
    rgb = variant(mosaiks_stored, SATMAE, "rgb_vit_large", ("rgb",))
    ten = variant(mosaiks_stored, SATMAE, "s2_10b", ("s2_10b",))
    registry = ModelRegistry([ten, rgb])
    assert registry.find("satmaepp") is rgb
    assert registry.find("satmaepp", modality="s2_10b") is ten
    assert registry.find("satmaepp", modality="s1") is rgb
    assert registry.find("satmaepp_s2_10b") is ten
