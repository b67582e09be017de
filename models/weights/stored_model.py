"""A model in the model store: its files and what is known about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import orjson

from geobento.schemas.cards import ModelCard, ServedModel, TextInput
from geobento.schemas.errors import ModelStoreError
from models.base import Model
from models.preprocessing.text import Tokenizer
from models.registry import get_model_class
from models.types import Config

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
CALIBRATED_PRECISIONS: tuple[Literal["bfloat16", "int8"], ...] = ("bfloat16", "int8")
"""Precisions that are compared with float32 at import."""

Calibration: TypeAlias = Mapping[str, Mapping[str, float]]
"""Precision -> `cosine` and `max_error` against float32; precisions without a measurement are
absent."""


@dataclass(frozen=True)
class StoredModel:
    """A model in the store.

    Attributes:
        tag: ``name:version``; the version is a digest of weights and configuration.
        path: Folder of its files.
        created: Time of the import.
        metadata: model, variant, weights (``seeded``, ``imported``, ``dummy``, ``none``), source,
            revision, sha256, config_sha256, tokenizer_sha256 (empty: none), licence,
            preprocessing (digest), bfloat16 and int8 (calibration; empty where the precision
            changes nothing in this network, absent where it could not be measured).
    """

    tag: str
    path: Path
    created: datetime
    metadata: Mapping[str, Any]

    @cached_property
    def config(self) -> Config:
        """Architecture configuration, read at first access.

        Raises:
            ModelStoreError: The file is missing or differs from the one that was saved.
        """
        file = self._verified_file(CONFIG_FILE, "config_sha256")
        config: Config = orjson.loads(file.read_bytes())
        return config

    @property
    def card(self) -> ModelCard:
        """The card of the model."""
        return get_model_class(self.metadata["model"]).card

    def model(self) -> Model:
        """The model without weights, which can describe itself and prepare inputs."""
        has_tokenizer = bool(self.metadata.get("tokenizer_sha256"))
        model_class = get_model_class(self.metadata["model"])
        return model_class(self.config, self._load_tokenizer if has_tokenizer else None)

    def _load_tokenizer(self, spec: TextInput) -> Tokenizer:
        file = self._verified_file(TOKENIZER_FILE, "tokenizer_sha256")
        return Tokenizer(file.read_bytes(), spec)

    def to_served_model(self) -> ServedModel:
        """The description that the API gives of this model."""
        model = self.model()
        return ServedModel(
            tag=self.tag,
            variant=self.metadata["variant"],
            dim=model.dim,
            weights=self.metadata["weights"],
            sha256=self.metadata["sha256"],
            created=self.created,
            preprocessing=self.metadata["preprocessing"],
            modalities=list(model.modalities()),
            card=model.card.with_all_options(),
        )

    @property
    def is_on_the_fly(self) -> bool:
        """Whether vectors are computed by a forward pass; False for precomputed embeddings."""
        return self.card.kind == "on_the_fly"

    @property
    def calibration(self) -> Calibration:
        """Measured cost of lower precisions."""
        return {
            precision: self.metadata[precision]
            for precision in CALIBRATED_PRECISIONS
            if self.metadata.get(precision)
        }

    def verified_weights(self) -> Path:
        """The weights file, after its digest was checked.

        Raises:
            ModelStoreError: The file is missing or damaged, or was saved for another preprocessing.
        """
        file = self._verified_file(WEIGHTS_FILE, "sha256")
        if self.card.preprocessing_digest() != self.metadata["preprocessing"]:
            raise ModelStoreError(
                f"{self.tag} was saved under another preprocessing than this version of GeoBento "
                f"has; run: geobento models import {self.card.id}"
            )
        return file

    def _verified_file(self, name: str, digest_key: str) -> Path:
        file = self.path / name
        expected, actual = self.metadata.get(digest_key), file_sha256(file)
        if actual != expected:
            raise ModelStoreError(
                f"{name} of {self.tag} is damaged: its sha256 is {actual}, was {expected} when "
                "saved; remove and import the model again"
            )
        return file


def file_sha256(file: Path) -> str:
    """Digest of a file of the model store, hexadecimal.

    Raises:
        ModelStoreError: The file cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelStoreError(f"{file.name} is missing from the model store") from error
