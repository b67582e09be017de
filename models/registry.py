"""The registry of models: one line each."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from geobento.schemas.errors import ModelNotFound
from geobento.suggestions import did_you_mean
from models.base import Model

MODEL_CLASSES = {
    "mosaiks": "models.mosaiks.model:Mosaiks",
    "dofa": "models.dofa.model:Dofa",
    "thor": "models.thor.model:Thor",
    "clip_vit_large_patch14": "models.clip.openai:Clip",
    "dino_v2_vits14": "models.dinov2.model:DinoV2",
    "open_clip_vit_b32": "models.clip.openclip:OpenClipXlmRoberta",
    "anysat": "models.anysat.model:AnySat",
    "galileo": "models.galileo.model:Galileo",
    "remoteclip": "models.clip.remoteclip:RemoteClip",
    "satmaepp": "models.satmaepp.model:SatMaePp",
    "gse": "models.gse.model:Gse",
}
"""Model id -> module and class, imported on first use."""


def get_model_class(name: str) -> type[Model]:
    """The class of a model, by id or alias.

    Raises:
        ModelNotFound: There is no such model; the message lists the available ones.
    """
    key = name.strip().lower()
    if key in MODEL_CLASSES:
        return _import_class(key)
    for model_id in MODEL_CLASSES:
        if key in _import_class(model_id).card.aliases:
            return _import_class(model_id)
    raise model_not_found(name, MODEL_CLASSES)


def model_not_found(name: str, available: Iterable[str]) -> ModelNotFound:
    """The error for an unknown model, with the available ones."""
    available = sorted(available)
    listed = ", ".join(available) or "none"
    return ModelNotFound(
        f"there is no model {name!r}; available: {listed}{did_you_mean([name], available)}",
        field="model",
        detail={"available": available},
    )


def list_model_classes() -> list[type[Model]]:
    """All model classes, in the order of the registry."""
    return [_import_class(model_id) for model_id in MODEL_CLASSES]


def _import_class(model_id: str) -> type[Model]:
    module, _, name = MODEL_CLASSES[model_id].partition(":")
    model_class: type[Model] = getattr(import_module(module), name)
    return model_class
