"""Bringing weights into the model store: seeded, from the authors' files, or dummies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from geobento.schemas.errors import ModelError
from models.base import Model
from models.preprocessing import text as preprocessing_text
from models.registry import get_model_class
from models.types import Config
from models.weights import checkpoints, hub, store


def import_model(
    name: str,
    *,
    variant: str | None = None,
    checkpoint: Path | None = None,
    config: Path | None = None,
    tokenizer: Path | None = None,
    dummy: bool = False,
) -> store.StoredModel:
    """Save a model into the store.

    Args:
        name: Id or alias in the catalog.
        variant: Variant of the card; None: its default.
        checkpoint: The authors' weights file; None: seeded weights are made, learned ones come
            from the hub, a finished product has none.
        config: JSON configuration that belongs to `checkpoint`.
        tokenizer: ``tokenizer.json`` that belongs to `checkpoint`; None: the one that lies beside
            it, if any. Without one the model reads no texts.
        dummy: Seeded random numbers in place of trained weights.

    Raises:
        ModelNotFound: The catalog has no such model.
        ModelError: The variant does not exist, or the arguments contradict each other.
        CheckpointError: The file is not of the expected layout.
    """
    cls = get_model_class(name)
    if checkpoint is None and config is not None:
        raise ModelError("--config belongs to a --checkpoint")
    if checkpoint is None and tokenizer is not None:
        raise ModelError("--tokenizer belongs to a --checkpoint")
    if checkpoint is not None and dummy:
        raise ModelError("a checkpoint or --weights dummy, not both")
    if dummy and cls.card.weights.source == "none":
        raise ModelError(f"{cls.card.id} has no weights; leave --weights out")
    record = _read_config(config)
    named = cls.card.variants_of(name.strip().lower())
    variant = variant or _variant_from_config(record) or named[0]
    if variant not in cls.card.variants:
        raise ModelError(
            f"{cls.card.id} has no variant {variant!r}; accepted: {', '.join(cls.card.variants)}"
        )
    if variant not in named:
        raise ModelError(
            f"{name!r} stands for {cls.card.id} {' or '.join(named)}, not for {variant}; "
            f"run: geobento models import {cls.card.id}"
        )
    if checkpoint is not None:
        beside = checkpoint.with_name(store.TOKENIZER_FILE)
        tokenizer = tokenizer or (beside if cls.card.text and beside.is_file() else None)
        return _save_converted(cls, checkpoint, record, variant, checkpoint.name, None, tokenizer)
    if dummy or cls.card.weights.source in ("seeded", "none"):
        return _save_seeded(cls, variant, "dummy" if dummy else cls.card.weights.source)
    entry = cls.card.variants[variant]
    if entry.repository is None:
        raise ModelError(
            f"the weights of {cls.card.id} {variant} are on no hub; get them from "
            f"{cls.card.weights.source} and give --checkpoint, or take --weights dummy"
        )
    weights, configuration, revision = hub.download(entry.repository, entry.revision, entry.files)
    if cls.card.text is not None:
        text = cls.card.text
        tokenizer, _, _ = hub.download(
            text.tokenizer_repository, text.tokenizer_revision, (store.TOKENIZER_FILE,)
        )
    return _save_converted(
        cls, weights, _read_config(configuration), variant, entry.repository, revision, tokenizer
    )


def _save_seeded(cls: type[Model], variant: str, weights: str) -> store.StoredModel:
    architecture = cls.default_config(variant)
    return store.save(
        cls,
        architecture,
        cls.seeded_state_dict(architecture),
        variant=variant,
        weights=weights,
        source="none" if weights == "none" else "seeded",
        revision=cls.card.weights.revision,
        tokenizer=None
        if cls.card.text is None
        else preprocessing_text.dummy_tokenizer_json(cls.card.text),
    )


def _save_converted(
    cls: type[Model],
    checkpoint: Path,
    checkpoint_config: Mapping[str, Any],
    variant: str,
    source: str,
    revision: str | None,
    tokenizer: Path | None,
) -> store.StoredModel:
    architecture, tensors = cls.convert(cls.checkpoint.read(checkpoint), checkpoint_config, variant)
    vocabulary = _read_tokenizer(cls, architecture, tokenizer)
    return store.save(
        cls,
        architecture,
        tensors,
        variant=variant,
        weights="imported",
        source=source,
        revision=revision,
        tokenizer=vocabulary,
    )


def _read_tokenizer(cls: type[Model], architecture: Config, file: Path | None) -> bytes | None:
    """A tokenizer's file, checked against the model that it is for."""
    if file is None:
        return None
    if cls.card.text is None:
        raise ModelError(f"{cls.card.id} reads no texts and takes no tokenizer")
    content = file.read_bytes()
    try:
        size = preprocessing_text.Tokenizer(content, cls.card.text).vocab_size
    except ValueError as error:
        raise checkpoints.CheckpointError(f"{file.name}: {error}") from None
    if size > (known := cls(architecture).vocab_size):
        raise checkpoints.CheckpointError(
            f"{file.name} has {size} tokens, the checkpoint knows {known}"
        )
    return content


def _read_config(config: Path | None) -> Mapping[str, Any]:
    if config is None:
        return {}
    try:
        record = orjson.loads(config.read_bytes())
    except orjson.JSONDecodeError as error:
        raise checkpoints.CheckpointError(f"{config.name} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise checkpoints.CheckpointError(f"{config.name} is not a JSON object")
    return record


def _variant_from_config(checkpoint_config: Mapping[str, Any]) -> str | None:
    """The variant that a configuration names; what follows its first word is a remark."""
    stated = str(checkpoint_config.get("variant", "")).split(" ")[0].replace("-", "_")
    return stated or None
