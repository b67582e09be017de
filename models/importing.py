"""Bringing weights into the model store: seeded, from the authors' files, or dummies."""

from __future__ import annotations

from pathlib import Path

import orjson

from geobento.errors import ModelError
from models import checkpoints, store
from models.base import Model
from models.catalog import family


def import_model(
    name: str,
    *,
    variant: str | None = None,
    checkpoint: Path | None = None,
    config: Path | None = None,
    dummy: bool = False,
) -> store.StoredModel:
    """Save a model into the store.

    Args:
        name: Id or alias in the catalog.
        variant: Variant of the card; None: its default.
        checkpoint: The authors' weights file.
        config: JSON configuration that belongs to `checkpoint`.
        dummy: Seeded random numbers in place of trained weights.

    Raises:
        ModelNotFound: The catalog has no such model.
        ModelError: The variant does not exist, or the arguments contradict each other.
        CheckpointError: The file is not of the expected layout.
    """
    cls = family(name)
    if (checkpoint is None) != (config is None):
        raise ModelError("--checkpoint and --config go together")
    if checkpoint is not None and config is not None:
        if dummy or variant is not None:
            raise ModelError(
                "a checkpoint says itself what it is: no --variant, no --weights dummy"
            )
        return _from_files(cls, checkpoint, config)
    variant = variant or cls.card.default_variant
    if variant not in cls.card.variants:
        raise ModelError(
            f"{cls.card.id} has no variant {variant!r}; accepted: {', '.join(cls.card.variants)}"
        )
    if not dummy and cls.card.weights.source != "seeded":
        raise ModelError(
            f"the weights of {cls.card.id} come from {cls.card.weights.source}: download them "
            "and give --checkpoint and --config, or take --weights dummy"
        )
    architecture = cls.default_config(variant)
    return store.save(
        cls,
        architecture,
        cls.seeded(architecture),
        variant=variant,
        weights="dummy" if dummy else "seeded",
        source="seeded",
        revision=cls.card.weights.revision,
    )


def _from_files(cls: type[Model], checkpoint: Path, config: Path) -> store.StoredModel:
    try:
        record = orjson.loads(config.read_bytes())
        variant = str(record["variant"]).split(" ")[0]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise checkpoints.CheckpointError(
            f"{config.name} is not a JSON object with a 'variant'"
        ) from error
    architecture, tensors = cls.convert(checkpoints.read(checkpoint), record)
    return store.save(
        cls,
        architecture,
        tensors,
        variant=variant,
        weights="imported",
        source=checkpoint.name,
        revision=None,
    )
