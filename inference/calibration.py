"""Measuring what lower precisions cost: the vectors of the same inputs, compared with float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import ModelCard, TextInput
from inference import devices
from inference.engine import LoadedModel
from inference.types import EncodeItem, Precision
from models.preprocessing.text import Tokenizer
from models.weights.converted_model import ConvertedModel
from models.weights.stored_model import CALIBRATED_PRECISIONS

EXAMPLES_PER_MODALITY = 4

Vector: TypeAlias = NDArray[np.float64]


def measurable_precisions(card: ModelCard) -> list[Precision]:
    """Precisions of a model whose cost can be measured on this machine."""
    return [
        precision
        for precision in CALIBRATED_PRECISIONS
        if precision in card.precisions
        and (precision != "int8" or devices.has_int8_hardware("cpu"))
    ]


def calibrate(
    converted: ConvertedModel, precisions: Sequence[Precision]
) -> dict[str, dict[str, float]]:
    """Measure what precisions cost a model, on the CPU.

    Args:
        converted: The model.
        precisions: Those to measure.

    Returns:
        For each precision what `compare_vectors` returns; empty if the precision changes nothing in
        this network.
    """
    if not precisions:
        return {}
    reference = example_vectors(_load(converted, "float32"))
    calibration: dict[str, dict[str, float]] = {}
    for precision in precisions:
        loaded = _load(converted, precision)
        calibration[precision] = (
            compare_vectors(reference, example_vectors(loaded))
            if loaded.precision == precision
            else {}
        )
    return calibration


def _load(converted: ConvertedModel, precision: Precision) -> LoadedModel:
    from inference.engines.torch import TorchModel

    model = converted.model_class(
        converted.config, _no_tokenizer if converted.tokenizer is not None else None
    )
    network = model.network()
    network.load_state_dict(converted.tensors, strict=True)
    return TorchModel(model, network, precision=precision)


def _no_tokenizer(spec: TextInput) -> Tokenizer:
    raise AssertionError("example texts are token ids and need no tokenizer")


def compare_vectors(
    reference: Sequence[Vector | None], candidate: Sequence[Vector | None]
) -> dict[str, float]:
    """Compare the vectors of a model in two precisions.

    Args:
        reference: Vectors in float32, see `example_vectors`.
        candidate: Vectors of the same inputs in the other precision.

    Returns:
        `cosine`: minimum cosine similarity over the inputs, 0 if one failed. `max_error`: maximum
        absolute difference of an element, relative to the length of the vector.
    """
    cosines, errors = [], []
    for a, b in zip(reference, candidate, strict=True):
        if a is None or b is None:
            return {"cosine": 0.0, "max_error": float("inf")}
        length = np.linalg.norm(a)
        cosines.append(float(a @ b / (length * np.linalg.norm(b))))
        errors.append(float(np.abs(a - b).max() / length))
    return {"cosine": min(cosines), "max_error": max(errors)}


def example_vectors(loaded: LoadedModel) -> list[Vector | None]:
    """Vectors of a few example inputs of every modality; None for an input that failed."""
    return [
        None if result.error is not None else np.asarray(result.data, np.float64)
        for modality in loaded.model.modalities()
        for result in loaded.run(list(_example_items(loaded, modality)))
    ]


def _example_items(loaded: LoadedModel, modality: str) -> Iterator[EncodeItem]:
    for seed in range(EXAMPLES_PER_MODALITY):
        inputs = loaded.model.example_inputs(modality, seed=seed)
        yield EncodeItem(inputs=inputs, pooling="native")
