"""Importing a model: convert the weights, measure the precisions, save everything at once."""

from __future__ import annotations

from pathlib import Path

from inference import calibration
from models.weights import importer, registration, writer
from models.weights.converted_model import ConvertedModel
from models.weights.stored_model import StoredModel


def import_model(
    name: str,
    *,
    variant: str | None = None,
    checkpoint: Path | None = None,
    config: Path | None = None,
    tokenizer: Path | None = None,
    dummy: bool = False,
) -> StoredModel:
    """Save a model into the model store.

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
    return save_model(
        importer.convert_model(
            name,
            variant=variant,
            checkpoint=checkpoint,
            config=config,
            tokenizer=tokenizer,
            dummy=dummy,
        )
    )


def save_model(converted: ConvertedModel) -> StoredModel:
    """Save a converted model with its calibration; saving the same content twice is one entry.

    If the entry exists, only precisions that could not be measured when it was saved (on another
    processor, or by an earlier version) are measured and added.
    """
    stored = registration.find_entry(converted.tag)
    precisions = calibration.measurable_precisions(converted.model_class.card)
    if stored is not None:
        precisions = [name for name in precisions if name not in stored.metadata]
        if not precisions:
            return stored
    return writer.save(converted, calibration.calibrate(converted, precisions))
