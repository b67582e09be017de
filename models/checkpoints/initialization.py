"""Networks without weights, and with random ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from models.types import Tensors

if TYPE_CHECKING:
    import torch

SEED = 20_211


def on_meta(make_network: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A network with shapes but no storage, to see which weights it needs."""
    import torch

    with torch.device("meta"):
        return make_network()


def random_state_dict(make_network: Callable[[], torch.nn.Module]) -> Tensors:
    """Seeded random weights of a network; the random state of the process stays as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        state = make_network().state_dict()
    return {name: tensor.detach().clone() for name, tensor in state.items()}
