"""Saving a converted model into the model store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.weights import registration
from models.weights.converted_model import ConvertedModel
from models.weights.stored_model import (
    CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Calibration,
    StoredModel,
    file_sha256,
)


def save(converted: ConvertedModel, calibration: Calibration) -> StoredModel:
    """Save a model, whole or not at all; saving the same content twice is one entry.

    Args:
        converted: The model.
        calibration: Measured cost of lower precisions. If the entry exists, measurements that it
            lacks are added.
    """
    if registration.find_entry(converted.tag) is None:
        registration.create_entry(
            converted.tag,
            lambda folder: {**_write_files(converted, folder), **calibration},
        )
    # Another process may have created the entry meanwhile, with other measurements.
    return registration.add_metadata(converted.tag, calibration)


def _write_files(converted: ConvertedModel, folder: Path) -> dict[str, Any]:
    """Write weights, configuration and tokenizer; returns the metadata of the entry."""
    from safetensors.torch import save_file

    card = converted.model_class.card
    weights, config = folder / WEIGHTS_FILE, folder / CONFIG_FILE
    tokenizer = folder / TOKENIZER_FILE
    save_file({name: tensor.contiguous() for name, tensor in converted.tensors.items()}, weights)
    config.write_bytes(converted.config_json)
    if converted.tokenizer is not None:
        tokenizer.write_bytes(converted.tokenizer)
    return {
        "model": card.id,
        "variant": converted.variant,
        "weights": converted.weights,
        "source": converted.source,
        "revision": converted.revision or "",
        "sha256": file_sha256(weights),
        "config_sha256": file_sha256(config),
        "tokenizer_sha256": "" if converted.tokenizer is None else file_sha256(tokenizer),
        "licence": card.weights.licence,
        "preprocessing": card.preprocessing_digest(),
    }
