"""Which number format a model computes in, decided by evidence.

bfloat16 halves memory and is several times faster where the processor multiplies in it. In int8 the
products of large linear layers are of whole numbers of eight bits, and all else is in bfloat16, or
in float32 where the processor does not multiply in that. What it costs is measured when a model is
imported: the vectors of the same inputs in both formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import ModelCard

if TYPE_CHECKING:
    from inference.batches import EncodeItem, LoadedModel

Precision = Literal["float32", "bfloat16", "int8"]

MIN_COSINE = 0.999
"""bfloat16 is taken by itself, and int8 at all, only where no vector turned further than this."""

BF16_CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "svebf16", "sve_bf16", "bf16"})
"""Instruction sets with products of bfloat16, as Linux and torch name them."""
INT8_CPU_FLAGS = frozenset({"amx_int8", "avx512_vnni", "avx_vnni"})
"""Instruction sets that add up products of eight bits exactly, as Linux names them."""

Vector: TypeAlias = NDArray[np.float64]
Calibration: TypeAlias = Mapping[str, Mapping[str, float]]
"""By number format, what `compare` found when a model was imported; nothing was measured of those
that are not there."""


def choose_precision(
    requested: str, card: ModelCard, calibration: Calibration, device: str
) -> Precision:
    """The number format for a model.

    Args:
        requested: `float32`, `bfloat16`; `auto`: bfloat16 where the processor multiplies in it and
            the evidence allows it; `int8`: that where the processor and the evidence allow it,
            else as `auto`.
        card: The model's record, which may rule formats out.
        calibration: What each of them costs.
        device: Where the forward passes run.
    """
    if requested == "float32" or "bfloat16" not in card.precisions:
        return "float32"
    if requested == "bfloat16":
        return "bfloat16"
    holds = _is_accurate(calibration, "bfloat16")
    if (
        requested == "int8"
        and holds
        and _is_accurate(calibration, "int8")
        and has_int8_hardware(device)
    ):
        return "int8"
    return "bfloat16" if holds and has_bf16_hardware(device) else "float32"


def base_dtype(precision: Precision, device: str) -> Literal["float32", "bfloat16"]:
    """The number format of all but the products of large linear layers."""
    if precision == "int8":
        return "bfloat16" if has_bf16_hardware(device) else "float32"
    return precision


def has_int8_hardware(device: str) -> bool:
    """Whether a device multiplies whole numbers of eight bits in hardware, and torch lets it."""
    if device != "cpu" or not cpu_flags() & INT8_CPU_FLAGS:
        return False
    from inference.engines.quantized_linear import supports_quantization

    return supports_quantization()


def _is_accurate(calibration: Calibration, precision: Precision) -> bool:
    return precision in calibration and calibration[precision]["cosine"] >= MIN_COSINE


def has_bf16_hardware(device: str) -> bool:
    """Whether a device multiplies matrices of bfloat16 in hardware."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(cpu_flags() & BF16_CPU_FLAGS)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Instruction sets of the processor: what Linux says, or without it torch, which takes longer.

    Args:
        cpuinfo: Where Linux says it.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        import torch

        return {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    named = (line.partition(":") for line in lines)
    found = (rest for name, _, rest in named if name.strip() in ("flags", "Features"))
    return set(next(found, "").split())


def compare_vectors(
    reference: Sequence[Vector | None], candidate: Sequence[Vector | None]
) -> dict[str, float]:
    """How far the vectors of a model turn and move when it computes in another format.

    Args:
        reference: What `vectors` gave in float32.
        candidate: And in the other format.

    Returns:
        `cosine`: the smallest over the samples. `max_error`: the largest difference of a number,
        relative to the vector's length.
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
    """Of a few items of everything that a model reads; None for one that failed."""
    return [
        None if result.error is not None else np.asarray(result.data, np.float64)
        for items in _example_items(loaded)
        for result in loaded.run(items)
    ]


def _example_items(loaded: LoadedModel) -> list[list[EncodeItem]]:
    from inference.batches import EncodeItem

    def items(modality: str) -> Any:
        for seed in range(4):
            inputs = loaded.model.example_inputs(modality, seed=seed)
            yield EncodeItem(inputs=inputs, pooling="native")

    return [list(items(modality)) for modality in loaded.model.modalities()]
