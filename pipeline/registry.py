"""The models that this process answers for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from geobento.cards import ServedModel
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
        }

    def served(self) -> list[ServedModel]:
        """What is served."""
        return [opened.served for opened in self._models]

    def find(self, name: str) -> OpenModel:
        """A served model by id or alias, whatever its case.

        Raises:
            ModelNotFound: It is not served; the message lists what is.
        """
        opened = self._names.get(name.strip().lower())
        if opened is None:
            raise catalog.unknown(name, [served.card.id for served in self.served()])
        return opened
