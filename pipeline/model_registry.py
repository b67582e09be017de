"""The models that this process serves."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geobento.observability import metrics
from geobento.schemas import modalities
from geobento.schemas.cards import ServedModel
from geobento.schemas.errors import ModelError, ModelNotFound
from models import registry
from models.base import Model

logger = logging.getLogger("geobento")


@dataclass(frozen=True)
class ModelHandle:
    """A served model, with the device and precision of its forward pass."""

    model: Model
    served: ServedModel
    device: str
    precision: str = "float32"


class ModelRegistry:
    """Served models by id, alias and variant.

    Args:
        models: The served models, in the order of listing.
    """

    def __init__(self, models: Iterable[ModelHandle]) -> None:
        self.handles = list(models)
        self._names: dict[str, list[ModelHandle]] = defaultdict(list)
        for handle in self.handles:
            card = handle.served.card
            for name in (card.id, *card.aliases):
                if handle.served.variant in card.variants_of(name):
                    self._names[name].append(handle)

    def served(self) -> list[ServedModel]:
        """The served models."""
        return [handle.served for handle in self.handles]

    def default_variants(self) -> list[ServedModel]:
        """The default variant of every model."""
        ids = dict.fromkeys(served.card.id for served in self.served())
        return [self.find(name).served for name in ids]

    def find(
        self, name: str, options: Mapping[str, Any] | None = None, modality: str | None = None
    ) -> ModelHandle:
        """A served model by id or alias, case-insensitive.

        An alias that stands for a variant finds no other. Where several variants are served, the
        option `variant` names one; without it, it is the first that reads the modality, the card's
        default before others.

        Raises:
            ModelNotFound: It is not served; the message says how to import it, or what is served.
            ModelError: This variant of it is not served.
        """
        key = name.strip().lower()
        handles = self._names.get(key)
        if not handles:
            raise self._not_served_error(name, key)
        variant = (options or {}).get("variant")
        if variant is not None:
            return _select_variant(handles, key, variant)
        order = handles[0].served.card.variants_of(key)
        return min(
            handles,
            key=lambda handle: (
                modality is not None
                and modalities.find_modality_name(modality, handle.served.modalities) is None,
                order.index(handle.served.variant),
            ),
        )

    def _not_served_error(self, name: str, normalized_name: str) -> ModelNotFound:
        served = list(dict.fromkeys(served.card.id for served in self.served()))
        missing = registry.model_not_found(name, served)
        try:
            card = registry.get_model_class(name).card
        except ModelNotFound:
            return missing
        known = card.name_to_import(normalized_name)
        return ModelNotFound(
            f"{known} is not served here; run: geobento models import {known} (and name it "
            f"in GEOBENTO_MODELS where that is set); available: {', '.join(served) or 'none'}",
            field="model",
            detail=missing.detail,
        )


def _select_variant(handles: Sequence[ModelHandle], name: str, variant: object) -> ModelHandle:
    for handle in handles:
        if handle.served.variant == variant:
            return handle
    card = handles[0].served.card
    served = ", ".join(handle.served.variant for handle in handles)
    if isinstance(variant, str) and variant in card.variants:
        how = f"run: geobento models import {card.id} --variant {variant}; "
    else:
        how = f"there are {', '.join(card.variants)}; "
    raise ModelError(
        f"{name} is not served in the variant {variant!r}; {how}served: {served}",
        field="model_config.variant",
    )


def publish_model_info(registry: ModelRegistry, device: str, precision: str) -> None:
    """Set the metric of the served models, and warn of models that do not compute in int8.

    Args:
        registry: The served models.
        device: Device of their forward passes.
        precision: The precision that the settings ask for.
    """
    for handle in registry.handles:
        served = handle.served
        metrics.MODEL_INFO.labels(served.name, served.tag, handle.precision, device).set(1)
        wants_int8 = precision == "int8" and "int8" in served.card.precisions
        if wants_int8 and handle.precision != "int8":
            logger.warning(
                "%s computes in %s: the documentation of GEOBENTO_PRECISION says when int8 is used",
                served.tag,
                handle.precision,
            )
