"""Base classes of models with an image tower and a text tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.base import Model
from models.types import Config, Encoded, Tensors

if TYPE_CHECKING:
    import torch

INITIAL_LOGIT_SCALE = 2.6593
"""Logarithm of the factor on cosines before training, 1 / 0.07."""


class ClipModel(Model):
    """Two towers with a common space and a learned factor on cosines."""

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture: what `read_config` gives without stated sizes."""
        return cls.read_config({}, variant)

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """As of every model, with the learned factor in the configuration."""
        config, tensors = super().convert(checkpoint, checkpoint_config, variant)
        return config | {"logit_scale": float(tensors["logit_scale"])}, tensors


class OpenClipModel(ClipModel):
    """A network of the open_clip library, whose parameters have the names of the released files."""

    @property
    def dim(self) -> int:
        """Width of the space that images and texts share."""
        return int(self.config["embed_dim"])

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary of the text tower."""
        return int(self.config["text"]["vocab_size"])

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Tokens and the projected vector, of images or of texts.

        The tokens of images are those before the last norm.
        """
        from models.clip import towers

        clip: Any = network
        if "text" in batch:
            return self.encode_texts(clip, batch["text"])
        return towers.encode_images(clip.visual, batch["image"])

    @staticmethod
    def encode_texts(clip: Any, ids: torch.Tensor) -> Encoded:
        """Tokens and the projected vector of texts (B, L)."""
        from models.clip import towers

        return towers.encode_texts(clip, ids)
