"""Looking up models in the model store."""

from __future__ import annotations

from geobento.schemas.errors import ModelStoreError
from models.registry import get_model_class
from models.weights import registration
from models.weights.stored_model import StoredModel


def list_models() -> list[StoredModel]:
    """All stored models, sorted by name; the newest of a name first."""
    stored_models = registration.list_entries()
    stored_models.sort(key=lambda stored: stored.created, reverse=True)
    stored_models.sort(key=lambda stored: stored.tag.partition(":")[0])
    return stored_models


def get_model(name: str) -> StoredModel:
    """The newest stored model of an id or alias, or the one of ``id:version`` or ``id:variant``.

    An alias that names a variant matches that variant only.

    Raises:
        ModelNotFound: The name is not in the registry.
        ModelStoreError: The name is in the registry, but not in the store.
    """
    model_name, _, version = name.strip().lower().partition(":")
    card = get_model_class(model_name).card
    variants = card.variants_of(model_name)
    for stored in list_models():
        stored_name, _, stored_version = stored.tag.partition(":")
        variant = stored.metadata["variant"]
        if (
            stored_name == card.id
            and variant in variants
            and version in ("", "latest", stored_version, variant.lower())
        ):
            return stored
    raise ModelStoreError(
        f"the model store does not hold {name!r}; run: geobento models import "
        f"{card.name_to_import(model_name)}"
    )


def select_models(names: tuple[str, ...]) -> list[StoredModel]:
    """The models to serve: those named, or the newest of every stored variant.

    Raises:
        ModelNotFound: A name is not in the registry.
        ModelStoreError: A name is not in the store, or two versions of one variant are named.
    """
    if names:
        selected = {stored.tag: stored for stored in map(get_model, names)}
    else:
        newest: dict[tuple[str, str], StoredModel] = {}
        for stored in list_models():
            newest.setdefault(_model_and_variant(stored), stored)
        selected = {stored.tag: stored for stored in newest.values()}
    if len(set(map(_model_and_variant, selected.values()))) < len(selected):
        raise ModelStoreError(
            f"one version of each variant can be served, got {', '.join(selected)}"
        )
    return list(selected.values())


def remove(name: str) -> str:
    """Delete a model from the store.

    Args:
        name: As in `get_model`.

    Returns:
        The tag of the deleted model.
    """
    stored = get_model(name)
    registration.delete_entry(stored.tag)
    return stored.tag


def _model_and_variant(stored: StoredModel) -> tuple[str, str]:
    return stored.metadata["model"], stored.metadata["variant"]
