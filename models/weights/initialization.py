"""Making networks without weights, and with random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from models.base import Model, Tensors

SEED = 20_211


def on_meta(model: Model) -> torch.nn.Module:
    """The network of a model with shapes but no storage: to see what weights it needs."""
    import torch

    with torch.device("meta"):
        return model.network()


def random_state_dict(model: Model) -> Tensors:
    """Seeded random weights for a model; the random state of the process is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        state = model.network().state_dict()
    return {name: tensor.detach().clone() for name, tensor in state.items()}
