"""The models that a process answers for."""

from __future__ import annotations

import pytest

from geobento.errors import ModelNotFound
from models.store import StoredModel
from pipeline.registry import OpenModel, Registry


def opened(stored: StoredModel, name: str, *aliases: str) -> OpenModel:
    """A served model under other names."""
    served = stored.served()
    card = served.card.model_copy(update={"id": name, "aliases": aliases})
    return OpenModel(stored.model(), served.model_copy(update={"card": card}), "cpu")


def test_models_are_found_by_all_their_names(mosaiks_stored: StoredModel) -> None:
    """Ids and aliases, whatever their case; the listing keeps the order of opening."""
    second, first = opened(mosaiks_stored, "b", "bee", "beta"), opened(mosaiks_stored, "a")
    registry = Registry([second, first])
    assert [served.card.id for served in registry.served()] == ["b", "a"]
    for name in ("b", "bee", "Beta", " B "):
        assert registry.find(name) is second
    assert registry.find("A") is first


@pytest.mark.parametrize("names", [(), ("b",), ("b", "a")])
def test_what_is_not_served_is_not_found(
    mosaiks_stored: StoredModel, names: tuple[str, ...]
) -> None:
    """The error lists what this process serves, not what the catalog knows."""
    registry = Registry(opened(mosaiks_stored, name) for name in names)
    with pytest.raises(ModelNotFound) as caught:
        registry.find("mosaik")
    assert caught.value.detail == {"available": sorted(names)}
    assert caught.value.message.endswith(f"available: {', '.join(sorted(names)) or 'none'}")
    assert caught.value.field == "model"


def test_what_could_be_served_says_how(mosaiks_stored: StoredModel) -> None:
    """A model of the catalog that is not imported is named with the command that does it."""
    registry = Registry([opened(mosaiks_stored, "b")])
    with pytest.raises(ModelNotFound, match="run: geobento models import dino_v2_vits14"):
        registry.find("DINOv2-small")
