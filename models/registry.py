"""The list of models: one line each."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from geobento.schemas.errors import ModelNotFound
from models.base import Model

FAMILIES = {
    "mosaiks": "models.mosaiks.model:Mosaiks",
    "dofa": "models.dofa.model:Dofa",
    "thor": "models.thor.model:Thor",
    "clip_vit_large_patch14": "models.clip.openai:Clip",
    "dino_v2_vits14": "models.dinov2:DinoV2",
    "open_clip_vit_b32": "models.clip.openclip:OpenClipXlmRoberta",
    "anysat": "models.anysat.model:AnySat",
    "galileo": "models.galileo.model:Galileo",
    "remoteclip": "models.clip.remoteclip:RemoteClip",
    "satmaepp": "models.satmaepp.model:SatMaePp",
    "gse": "models.gse:Gse",
}
"""Model id -> where its class is. Nothing is imported until it is asked for."""


def family(name: str) -> type[Model]:
    """The class of a model, by id or alias.

    Raises:
        ModelNotFound: No model of that name exists; the message lists those that do.
    """
    key = name.strip().lower()
    if key in FAMILIES:
        return _load(key)
    for model_id in FAMILIES:
        if key in _load(model_id).card.aliases:
            return _load(model_id)
    raise unknown(name, FAMILIES)


def unknown(name: str, known: Iterable[str]) -> ModelNotFound:
    """The error for a model that is not there, naming those that are."""
    listed = ", ".join(sorted(known)) or "none"
    return ModelNotFound(
        f"there is no model {name!r}; available: {listed}",
        field="model",
        detail={"available": sorted(known)},
    )


def families() -> list[type[Model]]:
    """All model classes, in the order of the catalog."""
    return [_load(model_id) for model_id in FAMILIES]


def _load(model_id: str) -> type[Model]:
    module, _, name = FAMILIES[model_id].partition(":")
    loaded: type[Model] = getattr(import_module(module), name)
    return loaded
