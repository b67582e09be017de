"""The models that this process answers for."""

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
    """A model that inputs are prepared for here, and where its forward runs."""

    model: Model
    served: ServedModel
    device: str
    precision: str = "float32"


class ModelRegistry:
    """Served models by id, alias and variant.

    Args:
        models: What is served, in the order of listing.
    """

    def __init__(self, models: Iterable[ModelHandle]) -> None:
        self.handles = list(models)
        self._names: dict[str, list[ModelHandle]] = defaultdict(list)
        for opened in self.handles:
            card = opened.served.card
            for name in (card.id, *card.aliases):
                if opened.served.variant in card.variants_of(name):
                    self._names[name].append(opened)

    def served(self) -> list[ServedModel]:
        """What is served."""
        return [opened.served for opened in self.handles]

    def default_variants(self) -> list[ServedModel]:
        """Of every model the variant that its id finds."""
        ids = dict.fromkeys(served.card.id for served in self.served())
        return [self.find(name).served for name in ids]

    def find(
        self, name: str, options: Mapping[str, Any] | None = None, modality: str | None = None
    ) -> ModelHandle:
        """A served model by id or alias, whatever its case.

        An alias that stands for a variant finds no other. Where several variants are served, the
        option `variant` names one; without it, it is the first that reads the modality, the card's
        default before others.

        Raises:
            ModelNotFound: It is not served; the message says how to import it, or what is served.
            ModelError: This variant of it is not served.
        """
        asked = name.strip().lower()
        found = self._names.get(asked)
        if not found:
            raise self._not_served_error(name, asked)
        wanted = (options or {}).get("variant")
        if wanted is not None:
            return _select_variant(found, asked, wanted)
        order = found[0].served.card.variants_of(asked)
        return min(
            found,
            key=lambda opened: (
                modality is not None
                and modalities.find_modality_name(modality, opened.served.modalities) is None,
                order.index(opened.served.variant),
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
    for opened in handles:
        if opened.served.variant == variant:
            return opened
    card = handles[0].served.card
    served = ", ".join(opened.served.variant for opened in handles)
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
