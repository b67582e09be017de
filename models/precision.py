"""Which number format a model computes in, decided by evidence.

bfloat16 halves memory and is several times faster where the processor multiplies in it. What it
costs is measured when a model is imported: the vectors of the same inputs in both formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geobento.cards import ModelCard

if TYPE_CHECKING:
    from models.execute import EncodeItem, LoadedModel

Precision = Literal["float32", "bfloat16"]

LEAST_COSINE = 0.999
"""bfloat16 is taken by itself only where no vector turned further than this."""

BF16 = frozenset({"amx_bf16", "avx512_bf16", "svebf16", "sve_bf16", "bf16"})
"""Instruction sets with products of bfloat16, as Linux and torch name them."""


def choose(
    wanted: str, card: ModelCard, evidence: Mapping[str, float] | None, device: str
) -> Precision:
    """The number format for a model.

    Args:
        wanted: `float32`, `bfloat16`, or `auto`: bfloat16 where the processor multiplies in it
            and the evidence allows it.
        card: The model's record, which may rule bfloat16 out.
        evidence: What `compare` found when the model was imported; None: nothing was measured.
        device: Where the forward passes run.
    """
    if wanted == "float32" or "bfloat16" not in card.precisions:
        return "float32"
    if wanted == "bfloat16":
        return "bfloat16"
    holds = evidence is not None and evidence["cosine"] >= LEAST_COSINE
    return "bfloat16" if holds and is_fast(device) else "float32"


def is_fast(device: str) -> bool:
    """Whether a device multiplies matrices of bfloat16 in hardware."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(features() & BF16)


def features(cpus: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Instruction sets of the processor: what Linux says, or without it torch, which takes longer.

    Args:
        cpus: Where Linux says it.
    """
    try:
        lines = cpus.read_text().splitlines()
    except OSError:
        import torch

        return {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    named = (line.partition(":") for line in lines)
    found = (rest for name, _, rest in named if name.strip() in ("flags", "Features"))
    return set(next(found, "").split())


def compare(exact: LoadedModel, rounded: LoadedModel) -> dict[str, float]:
    """How far the vectors of a model turn and move when it computes in another format.

    Returns:
        `cosine`: the smallest over the samples. `max_error`: the largest difference of a number,
        relative to the vector's length.
    """
    cosines, errors = [], []
    for items in _samples(exact):
        for one, other in zip(exact.run(items), rounded.run(items), strict=True):
            if one.error is not None or other.error is not None:
                return {"cosine": 0.0, "max_error": float("inf")}
            a, b = np.asarray(one.data, np.float64), np.asarray(other.data, np.float64)
            length = np.linalg.norm(a)
            cosines.append(float(a @ b / (length * np.linalg.norm(b))))
            errors.append(float(np.abs(a - b).max() / length))
    return {"cosine": min(cosines), "max_error": max(errors)}


def _samples(loaded: LoadedModel) -> list[list[EncodeItem]]:
    """A few items of everything that a model reads."""
    from models.execute import EncodeItem

    def items(modality: str) -> Any:
        for seed in range(4):
            inputs = loaded.model.example_inputs(modality, seed=seed)
            yield EncodeItem(inputs=inputs, pooling="authors")

    return [list(items(modality)) for modality in loaded.model.modalities()]
