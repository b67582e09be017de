"""THOR: Sentinel-1 and Sentinel-2, each band at its own resolution, patches of any size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from geobento.schemas.sample import Sample
from models.base import Model
from models.cards import load_card
from models.preprocessing.resampling import resize
from models.thor import inputs as thor_inputs
from models.thor.checkpoint import CHECKPOINT
from models.types import Config, Encoded, Inputs

if TYPE_CHECKING:
    import torch

    from models.thor.network import BandGroup

COMMON: Config = {"norm_eps": 1e-6}
DEFAULT_PATCH_SIZE = 8
MAX_PATCHES_PER_SIDE = 36
"""Patches of the finest bands per side; examples of the reference implementation have as many."""
BANDS_KEY, PATCH_SIZE_KEY, PIXEL_SIZE_KEY = "bands", "patch", "pixel_mm"


class Thor(Model):
    """A vision transformer over groups of bands, without the parts that read Sentinel-3."""

    card = load_card("thor")
    requirements = ("timm",)
    variants = {
        "tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3, "band_embed_dim": 32} | COMMON,
        "small": {"embed_dim": 384, "depth": 12, "num_heads": 6, "band_embed_dim": 64} | COMMON,
        "base": {"embed_dim": 768, "depth": 12, "num_heads": 12, "band_embed_dim": 128} | COMMON,
        "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16, "band_embed_dim": 256} | COMMON,
    }
    checkpoint = CHECKPOINT

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embed_dim"])

    def prepare(self, sample: Sample) -> Inputs:
        """Z-scores at the resolution of the sample, a whole number of patches high and wide.

        Samples of other modalities in `extras` are read together with it.

        Returns:
            Each modality's name: (C, H, W) float32; `bands`: (C, 2), for each channel its position
            in the network's list of bands and its downsampling; `patch`: side in pixels;
            `pixel_mm`: ground size of the image's pixels.
        """
        patch_size = int(self.options.get("patch_size", DEFAULT_PATCH_SIZE))
        parts = (sample, *sample.extras.values())
        scores = {part.modality: thor_inputs.standardized(part, self.card) for part in parts}
        layout = thor_inputs.plan_layout(sample, self.card, patch_size, MAX_PATCHES_PER_SIDE)
        arrays = {
            name: resize(values, layout.shape, "bilinear", antialias=True)
            for name, values in scores.items()
        }
        return arrays | {
            BANDS_KEY: layout.channels,
            PATCH_SIZE_KEY: np.array(patch_size, np.int64),
            PIXEL_SIZE_KEY: np.array(layout.pixel_mm, np.int64),
        }

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Equal shapes, equal bands and equal patches."""
        return super().batch_key(inputs), inputs[BANDS_KEY].tobytes(), int(inputs[PATCH_SIZE_KEY])

    def network(self) -> torch.nn.Module:
        """The encoder."""
        from models.thor.network import ThorEncoder

        return ThorEncoder(**self.config)

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Tokens of all groups, their mean, and their map at the resolution of the finest."""
        from models.thor.network import merge_groups

        image, groups = self.stack_channels(batch)
        patch_size = int(batch[PATCH_SIZE_KEY][0])
        tokens, shapes = network(image, groups, patch_size, batch[PIXEL_SIZE_KEY] / 1000)
        grid = merge_groups(tokens, shapes).mean(dim=1)
        shape = grid.shape[2], grid.shape[3]
        return Encoded(tokens, shape, vector=tokens.mean(dim=1), feature_map=grid)

    @classmethod
    def stack_channels(
        cls, batch: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, list[BandGroup]]:
        """The image (B, C, H, W) of a batch, and the groups of its channels."""
        import torch

        from models.thor.network import group_bands

        image = torch.cat([batch[name] for name in cls.card.modalities if name in batch], dim=1)
        positions, downsampling = batch[BANDS_KEY][0].T.tolist()
        return image, group_bands([thor_inputs.BANDS[code] for code in positions], downsampling)
