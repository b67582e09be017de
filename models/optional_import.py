"""Libraries that carry networks: extras, imported when first needed."""

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
"""Operators that torchvision's Python code refers to when it is imported."""


def optional_import(name: str) -> Any:
    """A library that is an extra.

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
    """Declare the operators of torchvision where its compiled ones do not load.

    torchvision from PyPI is compiled against torch with CUDA; beside CPU torch its library does
    not load, and then its Python code, which transformers and open_clip import, fails on the
    first operator that it refers to. Nothing here calls those operators.
    """
    import torch

    found = find_spec("torchvision")
    if found is None or found.origin is None:
        return
    for compiled in Path(found.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
            return
        except OSError:
            continue
    for name, schema in TORCHVISION_OPERATORS.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema.removeprefix(name))
