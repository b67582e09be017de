"""AnySat: series of Sentinel-2 and Sentinel-1 and aerial images, patches of any ground size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from geobento.schemas.sample import Sample
from models.anysat.card import CARD
from models.anysat.inputs import PATCH_COUNTS_KEY, PATCH_M_KEY, prepare_inputs
from models.base import Model
from models.checkpoints.architecture import check_sizes
from models.checkpoints.conversion import Checkpoint
from models.checkpoints.files import CheckpointError
from models.preprocessing.options import read_integer
from models.types import Config, Encoded, Inputs

if TYPE_CHECKING:
    import torch

UNUSED_SENSORS = ("aerial-flair", "spot", "naip", "s1-asc", "l7", "l8", "alos", "modis")
"""Sensors of the released file that this model does not read."""


class AnySat(Model):
    """Series (`s2`, `s1`) and an aerial image of one region, alone or together.

    The modality of the sample and those of its `extras` have the same ground: `s2` (T, 10, H, W)
    and `s1` (T, 2, H, W), each with its own dates, or (C, H, W) for one image; `aerial` (4, H, W).
    """

    card = CARD
    variants = {
        "base": {
            "embed_dim": 768,
            "depth": 6,
            "num_heads": 12,
            "mlp_ratio": 4,
            "mlp_in": [96, 384, 768, 1536, 768],
        }
    }
    checkpoint = Checkpoint(
        drop=tuple(f"projector_{sensor}." for sensor in UNUSED_SENSORS),
        rename={"projector_": "projectors."},
    )

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embed_dim"])

    def prepare(self, sample: Sample) -> Inputs:
        """Scale all inputs, resize them to whole patches, and add the days of their frames.

        Returns:
            `s2` (T, 10, H, W), `s1` (T, 3, H, W) and `aerial` (4, H, W) as far as the sample has
            them: z-scores at 10 and 0.2 m; `<series>_days` (T,) from 0, `<series>_missing`
            (T, H, W); `patches` (2,) high and wide; `patch_m` ().
        """
        return prepare_inputs(sample, read_integer(CARD, self.options, "patch_size"))

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Equal shapes and patches."""
        return (
            super().batch_key(inputs),
            inputs[PATCH_COUNTS_KEY].tobytes(),
            int(inputs[PATCH_M_KEY]),
        )

    def network(self) -> torch.nn.Module:
        """The encoder."""
        from models.anysat.network import AnySatEncoder

        return AnySatEncoder(**self.config)

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """The class token as the vector, and the tokens of the patches."""
        high, wide = batch[PATCH_COUNTS_KEY][0].tolist()
        tokens = network(batch, (high, wide), int(batch[PATCH_M_KEY][0]))
        class_token = tokens[:, 0]
        return Encoded(
            tokens,
            (high, wide),
            num_prefix_tokens=1,
            vector=class_token,
            class_token=class_token,
        )

    @classmethod
    def read_config(cls, checkpoint_config: Mapping[str, Any], variant: str) -> Config:
        """Sizes of a checkpoint, by default the released ones.

        Raises:
            CheckpointError: A size is impossible.
        """
        config = super().read_config(checkpoint_config, variant)
        widths = config["mlp_in"]
        sizes = {name: size for name, size in config.items() if name != "mlp_in"}
        check_sizes(sizes, width="embed_dim", multiple_of=16)
        if not isinstance(widths, list) or not all(_fits_group_norm(width) for width in widths):
            raise CheckpointError(f"the configuration's mlp_in is {widths!r}, not multiples of 4")
        if widths[-1:] != [config["embed_dim"]]:
            raise CheckpointError(
                f"the configuration's mlp_in is {widths!r}, but the last width has to be the "
                f"embed_dim, {config['embed_dim']}"
            )
        return config


def _fits_group_norm(width: Any) -> bool:
    """Whether a layer of this width can be normalized in four groups."""
    return type(width) is int and width >= 4 and width % 4 == 0
