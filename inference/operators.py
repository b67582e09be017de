"""The operators of torch for prepacked and int8 layers on a CPU."""

from __future__ import annotations

from typing import Any

import torch


def supports_prepacking() -> bool:
    """Whether this torch has the operators for prepacked weights, which are undocumented."""
    return _has_operators("mkldnn", "_reorder_linear_weight", "_linear_pointwise")


def supports_quantization() -> bool:
    """Whether this torch has the operators for int8 layers too."""
    return supports_prepacking() and _has_operators(
        "onednn", "qlinear_prepack", "qlinear_pointwise"
    )


def _has_operators(library: str, *operators: str) -> bool:
    namespace: Any = getattr(torch.ops, library)
    return torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
        hasattr(namespace, name) for name in operators
    )
