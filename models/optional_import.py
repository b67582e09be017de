"""Optional dependencies, imported on first use."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geobento.schemas.errors import ModelStoreError

TORCHVISION_OPERATORS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
"""Operators that torchvision's Python code needs at import."""


def optional_import(name: str) -> Any:
    """A library of the extra `models`.

    Raises:
        ModelStoreError: It is not installed.
    """
    try:
        make_torchvision_importable()
        return import_module(name)
    except ImportError as error:
        raise ModelStoreError(
            f"{name} is not installed; run: make models, or pip install 'geobento[models]'"
        ) from error


@cache
def make_torchvision_importable() -> None:
    """Declare the operators of torchvision if its compiled library does not load.

    torchvision from PyPI is compiled for torch with CUDA; its library does not load beside CPU
    torch. Its Python code, which transformers and open_clip import, then fails at the first
    operator that it registers. None of these operators is called here.
    """
    import torch

    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for compiled in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
            return
        except OSError:
            continue
    for name, schema in TORCHVISION_OPERATORS.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema.removeprefix(name))
