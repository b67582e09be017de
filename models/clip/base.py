"""What the models of the open_clip library have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.base import Model
from models.types import Encoded

if TYPE_CHECKING:
    import torch


class OpenClipModel(Model):
    """Two towers of the library, whose names are those of the released files."""

    @property
    def dim(self) -> int:
        """Width of the space that pictures and texts share."""
        return int(self.config["embed_dim"])

    @property
    def vocab_size(self) -> int:
        """Tokens that the text tower knows."""
        return int(self.config["text"]["vocab_size"])

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Tokens and the projected feature, of pictures or of texts.

        The tokens of pictures are those before the last norm.
        """
        from models.clip import towers

        clip: Any = network
        if "text" in batch:
            return self.encode_texts(clip, batch["text"])
        return towers.encode_images(clip.visual, batch["image"])

    @staticmethod
    @abstractmethod
    def encode_texts(clip: Any, ids: torch.Tensor) -> Encoded:
        """Tokens and the projected feature of texts (B, L)."""
