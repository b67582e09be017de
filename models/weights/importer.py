"""Getting a model to import: seeded, precomputed, from a checkpoint file, or from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from geobento.schemas.errors import ModelError
from models.base import Model
from models.checkpoints.files import CheckpointError
from models.preprocessing import text as preprocessing_text
from models.registry import get_model_class
from models.types import Config
from models.weights import hub
from models.weights.converted_model import ConvertedModel
from models.weights.stored_model import TOKENIZER_FILE


def convert_model(
    name: str,
    *,
    variant: str | None = None,
    checkpoint: Path | None = None,
    config: Path | None = None,
    tokenizer: Path | None = None,
    dummy: bool = False,
) -> ConvertedModel:
    """Read or make the weights of a model, in the layout of its own network.

    Args:
        name: Id or alias.
        variant: Variant of the card; None: the one that `config` or the alias names, or the
            card's default.
        checkpoint: Weights file of the reference implementation; None: seeded weights are made,
            learned weights are downloaded, a precomputed product has none.
        config: JSON configuration of the checkpoint.
        tokenizer: ``tokenizer.json`` of the checkpoint; None: the one beside the checkpoint, if
            there is one. A model without a tokenizer reads no texts.
        dummy: Use random weights instead of trained ones.

    Raises:
        ModelNotFound: The name is not in the registry.
        ModelError: The variant does not exist, or the arguments contradict each other.
        CheckpointError: A file has another layout than expected.
    """
    model_class = get_model_class(name)
    _check_arguments(model_class, checkpoint, config, tokenizer, dummy)
    checkpoint_config = _read_config(config)
    variant = _select_variant(model_class, name, variant, checkpoint_config)
    if checkpoint is not None:
        if tokenizer is None and model_class.card.text is not None:
            tokenizer = _find_tokenizer(checkpoint)
        return _convert(
            model_class, checkpoint, checkpoint_config, variant, checkpoint.name, None, tokenizer
        )
    source = model_class.card.weights.source
    if dummy or source in ("seeded", "none"):
        return _make_seeded(model_class, variant, "dummy" if dummy else source)
    return _download(model_class, variant)


def _check_arguments(
    model_class: type[Model],
    checkpoint: Path | None,
    config: Path | None,
    tokenizer: Path | None,
    dummy: bool,
) -> None:
    if checkpoint is None and config is not None:
        raise ModelError("--config belongs to a --checkpoint")
    if checkpoint is None and tokenizer is not None:
        raise ModelError("--tokenizer belongs to a --checkpoint")
    if checkpoint is not None and dummy:
        raise ModelError("a checkpoint or --weights dummy, not both")
    if dummy and model_class.card.weights.source == "none":
        raise ModelError(f"{model_class.card.id} has no weights; leave --weights out")


def _select_variant(
    model_class: type[Model],
    name: str,
    requested: str | None,
    checkpoint_config: Mapping[str, Any],
) -> str:
    card = model_class.card
    matching = card.variants_of(name.strip().lower())
    variant = requested or _variant_from_config(checkpoint_config) or matching[0]
    if variant not in card.variants:
        raise ModelError(
            f"{card.id} has no variant {variant!r}; accepted: {', '.join(card.variants)}"
        )
    if variant not in matching:
        raise ModelError(
            f"{name!r} stands for {card.id} {' or '.join(matching)}, not for {variant}; "
            f"run: geobento models import {card.id}"
        )
    return variant


def _variant_from_config(checkpoint_config: Mapping[str, Any]) -> str | None:
    """The variant that a configuration names: its first word; a remark may follow."""
    variant = str(checkpoint_config.get("variant", "")).split(" ")[0].replace("-", "_")
    return variant or None


def _make_seeded(model_class: type[Model], variant: str, weights: str) -> ConvertedModel:
    card = model_class.card
    config = model_class.default_config(variant)
    return ConvertedModel(
        model_class,
        config,
        model_class.seeded_state_dict(config),
        variant=variant,
        weights=weights,
        source="none" if weights == "none" else "seeded",
        revision=card.weights.revision,
        tokenizer=None if card.text is None else preprocessing_text.dummy_tokenizer_json(card.text),
    )


def _download(model_class: type[Model], variant: str) -> ConvertedModel:
    card = model_class.card
    spec = card.variants[variant]
    if spec.repository is None:
        raise ModelError(
            f"the weights of {card.id} {variant} are on no hub; get them from "
            f"{card.weights.source} and give --checkpoint, or take --weights dummy"
        )
    checkpoint, config, commit = hub.download(spec.repository, spec.revision, spec.files)
    tokenizer = None
    if card.text is not None:
        tokenizer, _, _ = hub.download(
            card.text.tokenizer_repository, card.text.tokenizer_revision, (TOKENIZER_FILE,)
        )
    return _convert(
        model_class, checkpoint, _read_config(config), variant, spec.repository, commit, tokenizer
    )


def _convert(
    model_class: type[Model],
    checkpoint: Path,
    checkpoint_config: Mapping[str, Any],
    variant: str,
    source: str,
    revision: str | None,
    tokenizer: Path | None,
) -> ConvertedModel:
    config, tensors = model_class.convert(
        model_class.checkpoint.read(checkpoint), checkpoint_config, variant
    )
    return ConvertedModel(
        model_class,
        config,
        tensors,
        variant=variant,
        weights="imported",
        source=source,
        revision=revision,
        tokenizer=None if tokenizer is None else _read_tokenizer(model_class, config, tokenizer),
    )


def _find_tokenizer(checkpoint: Path) -> Path | None:
    """The tokenizer file in the folder of a checkpoint."""
    file = checkpoint.with_name(TOKENIZER_FILE)
    return file if file.is_file() else None


def _read_tokenizer(model_class: type[Model], config: Config, file: Path) -> bytes:
    """Content of a tokenizer file, checked against the vocabulary of the model."""
    if model_class.card.text is None:
        raise ModelError(f"{model_class.card.id} reads no texts and takes no tokenizer")
    content = file.read_bytes()
    try:
        vocab_size = preprocessing_text.Tokenizer(content, model_class.card.text).vocab_size
    except ValueError as error:
        raise CheckpointError(f"{file.name}: {error}") from None
    if vocab_size > (model_vocab_size := model_class(config).vocab_size):
        raise CheckpointError(
            f"{file.name} has {vocab_size} tokens, the checkpoint knows {model_vocab_size}"
        )
    return content


def _read_config(file: Path | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        config = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise CheckpointError(f"{file.name} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{file.name} is not a JSON object")
    return config
