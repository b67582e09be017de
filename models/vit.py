"""Base class of vision transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from models.base import Model
from models.types import Encoded

if TYPE_CHECKING:
    import torch


class ViTModel(Model):
    """A network that gives prefix tokens and one token per square patch of its input.

    A subclass states `card`, `variants` and `checkpoint` as data, makes the network, and prepares
    inputs. `variants` and the stored configuration have `embed_dim`, `img_size` and `patch_size`.
    A card with `class_token: true` says that the first prefix token is the class token.
    """

    num_prefix_tokens: ClassVar[int] = 1
    """Tokens before those of the patches: class token, then registers."""

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embed_dim"])

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Patches (high, wide) of an input."""
        side = int(self.config["img_size"]) // int(self.config["patch_size"])
        return side, side

    def forward(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Tokens (B, prefix + h * w, D); by default those of the only input."""
        (image,) = batch.values()
        tokens: torch.Tensor = network(image)
        return tokens

    def native_vector(self, network: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor | None:
        """The vector (B, D) of the reference implementation; None: the mean of the grid."""
        return None

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Prefix tokens, grid, class token and native vector of a batch."""
        tokens = self.forward(network, batch)
        return Encoded(
            tokens,
            self.grid_shape,
            num_prefix_tokens=self.num_prefix_tokens,
            vector=self.native_vector(network, tokens),
            class_token=tokens[:, 0] if self.card.class_token else None,
        )
