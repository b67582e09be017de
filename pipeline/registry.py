"""The models that this process answers for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from geobento.cards import ServedModel
from geobento.errors import ModelNotFound
from models import catalog
from models.base import Model


@dataclass(frozen=True)
class OpenModel:
    """A model that inputs are prepared for here, and where its forward runs."""

    model: Model
    served: ServedModel
    device: str
    precision: str = "float32"


class Registry:
    """Served models by id and alias.

    Args:
        models: What is served, in the order of listing.
    """

    def __init__(self, models: Iterable[OpenModel]) -> None:
        self._models = list(models)
        self._names = {
            name: opened
            for opened in self._models
            for name in (opened.served.card.id, *opened.served.card.aliases)
            if opened.served.variant in opened.served.card.variants_of(name)
        }

    def served(self) -> list[ServedModel]:
        """What is served."""
        return [opened.served for opened in self._models]

    def find(self, name: str) -> OpenModel:
        """A served model by id or alias, whatever its case.

        An alias that stands for a variant finds no other.

        Raises:
            ModelNotFound: It is not served; the message says how to import it, or what is served.
        """
        asked = name.strip().lower()
        opened = self._names.get(asked)
        if opened is not None:
            return opened
        served = [served.card.id for served in self.served()]
        missing = catalog.unknown(name, served)
        try:
            card = catalog.family(name).card
        except ModelNotFound:
            raise missing from None
        known = card.name_to_import(asked)
        raise ModelNotFound(
            f"{known} is not served here; run: geobento models import {known} (and name it "
            f"in GEOBENTO_MODELS where that is set); available: {', '.join(served) or 'none'}",
            field="model",
            detail=missing.detail,
        )
