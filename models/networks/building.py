"""Making networks without weights, and with random ones."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from geobento.errors import ModelStoreError

if TYPE_CHECKING:
    from models.base import Model, Tensors

SEED = 20_211


def library(name: str) -> Any:
    """A library that carries networks and is an extra.

    Raises:
        ModelStoreError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelStoreError(
            f"{name} is not installed; run: make transformers, or pip install 'geobento[{name}]'"
        ) from error


def blank(model: Model) -> torch.nn.Module:
    """The network of a model with shapes but no storage: to see what weights it needs."""
    with torch.device("meta"):
        return model.network()


def initialised(model: Model) -> Tensors:
    """Seeded random weights for a model; the random state of the process is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        state = model.network().state_dict()
    return {name: tensor.detach().clone() for name, tensor in state.items()}
