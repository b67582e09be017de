"""A model that is ready to be saved: weights under the names of its own network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import orjson

from geobento.schemas.errors import ModelStoreError
from models.base import Model
from models.checkpoints.initialization import on_meta
from models.types import Config, Tensors

MAX_LISTED_SHAPES = 6
"""Maximum number of tensors that an error message lists."""
VERSION_DIGITS = 16


@dataclass(frozen=True, eq=False)
class ConvertedModel:
    """Configuration, weights and tokenizer of a model, and their origin.

    Attributes:
        model_class: The model class.
        config: Architecture configuration.
        tensors: Weights under the parameter names of the network.
        variant: Variant of the card.
        weights: ``seeded``, ``imported``, ``dummy`` or ``none``.
        source: Origin of the weights: a repository, a file name or ``seeded``.
        revision: Version of the source, if it has one.
        tokenizer: Content of ``tokenizer.json``, for a model that reads texts.

    Raises:
        ModelStoreError: The tensors do not fit the network; the message lists the differences.
    """

    model_class: type[Model]
    config: Config
    tensors: Tensors
    variant: str
    weights: str
    source: str
    revision: str | None = None
    tokenizer: bytes | None = None

    def __post_init__(self) -> None:
        expected = _shapes(on_meta(self.model_class(self.config).network).state_dict())
        if differences := sorted(set(_shapes(self.tensors).items()) ^ set(expected.items())):
            raise ModelStoreError(
                f"the weights do not fit the network of {self.model_class.card.id}: "
                f"{differences[:MAX_LISTED_SHAPES]}"
            )

    @cached_property
    def config_json(self) -> bytes:
        """The configuration as it is stored."""
        return orjson.dumps(self.config, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)

    @cached_property
    def tag(self) -> str:
        """``name:version``; the version is a digest of the content: equal content is one entry."""
        card = self.model_class.card
        digest = hashlib.sha256(self.config_json)
        digest.update(self.tokenizer or b"")
        for part in (self.variant, self.weights, card.preprocessing_digest()):
            digest.update(part.encode())
        for name in sorted(self.tensors):
            digest.update(name.encode())
            digest.update(self.tensors[name].cpu().numpy().tobytes())
        return f"{card.id}:{digest.hexdigest()[:VERSION_DIGITS]}"


def _shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
