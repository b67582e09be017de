"""Galileo: optical, radar, elevation, climate and more, over time, in one sequence of tokens."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from geobento.schemas.sample import Sample
from models.base import Model
from models.checkpoints.architecture import check_sizes, check_variant
from models.checkpoints.conversion import Checkpoint
from models.checkpoints.files import CheckpointError
from models.galileo.card import CARD, PRIMARY_MODALITIES
from models.galileo.inputs import prepare_inputs
from models.preprocessing.options import read_integer, read_option
from models.types import Config, Encoded, Inputs

if TYPE_CHECKING:
    import torch

    from models.galileo.tokens import GalileoTokens

COMMON_SIZES = {"mlp_ratio": 4, "max_patch_size": 8, "max_sequence_length": 24}
"""Sizes that all variants share; a configuration may leave them out."""


class Galileo(Model):
    """Images over time (`s2`, `s1`) with auxiliary inputs in the sample's `extras`.

    All samples are of one region: `s1` and `s2` (T, C, H, W), or (C, H, W) for one image; `srtm`,
    `dynamic_world` and `worldcereal` (C, H, W); `era5`, `terraclimate` and `viirs` (T, C, h, w)
    and `landscan` (1, h, w), of which the network reads the mean over the region.
    """

    card = CARD
    variants = {
        "nano": {"embedding_size": 128, "depth": 4, "num_heads": 8, **COMMON_SIZES},
        "tiny": {"embedding_size": 192, "depth": 12, "num_heads": 3, **COMMON_SIZES},
        "base": {"embedding_size": 768, "depth": 12, "num_heads": 12, **COMMON_SIZES},
    }
    checkpoint = Checkpoint(replace={".backbone": ""})

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embedding_size"])

    def modalities(self) -> tuple[str, ...]:
        """Modalities that a request may name; the others are auxiliary."""
        return PRIMARY_MODALITIES

    def prepare(self, sample: Sample) -> Inputs:
        """Scale all inputs by the statistics of the training data, and add dates and pixel size.

        Returns:
            `s2` (T, 10, H, W), `ndvi` (T, 1, H, W), `s1` (T, 2, H, W) scaled decibels; maps
            (C, H, W), `*_static` (C,), series (T, C), `landscan` (1,) and `location` (3,) as far
            as the sample and the options have them; `months` (T,) 0 to 11; `resolution_um` (2,)
            ground height and width of a pixel, micrometers; `patch_size` ().
        """
        limit = self.config["max_patch_size"]
        return prepare_inputs(
            sample,
            patch_size=read_integer(CARD, self.options, "patch_size", maximum=limit),
            max_frames=self.config["max_sequence_length"],
            with_location=read_option(CARD, self.options, "location"),
        )

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Equal shapes and patch sizes."""
        return super().batch_key(inputs), int(inputs["patch_size"])

    def network(self) -> torch.nn.Module:
        """The encoder."""
        from models.galileo.network import GalileoEncoder

        return GalileoEncoder(
            dim=self.dim,
            depth=self.config["depth"],
            num_heads=self.config["num_heads"],
            mlp_ratio=self.config["mlp_ratio"],
            max_patch_size=self.config["max_patch_size"],
            max_frames=self.config["max_sequence_length"],
        )

    def encode_tokens(
        self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> GalileoTokens:
        """All tokens after the final norm."""
        resolution_m = batch["resolution_um"].double() / 1e6
        tokens: GalileoTokens = network(
            batch, batch["months"], resolution_m, int(batch["patch_size"][0])
        )
        return tokens

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Mean tokens of the patches, and the mean over all tokens as the vector."""
        tokens = self.encode_tokens(network, batch)
        patches = tokens.patch_means()
        height, width = patches.shape[1:3]
        vector = tokens.sequence().mean(dim=1)
        return Encoded(patches.flatten(1, 2), (height, width), vector=vector)

    @classmethod
    def read_config(cls, checkpoint_config: Mapping[str, Any], variant: str) -> Config:
        """Sizes of a checkpoint, by default those of the variant.

        The released `config.json` states them under `model.encoder`.

        Raises:
            CheckpointError: Sizes are missing or impossible, or those of another variant.
        """
        stated = _encoder_sizes(checkpoint_config)
        config = super().read_config({"arch": stated}, variant)
        if stated and (missing := sorted(set(config) - set(COMMON_SIZES) - set(stated))):
            raise CheckpointError(f"the configuration does not state {', '.join(missing)}")
        check_sizes(config, width="embedding_size", multiple_of=16)
        check_variant(config, variant, cls.variants, ("embedding_size", "depth", "num_heads"))
        return config


def _encoder_sizes(checkpoint_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The encoder's sizes in a configuration file; empty if it states none."""
    stated = checkpoint_config.get("arch", checkpoint_config.get("model", {}))
    if isinstance(stated, Mapping):
        stated = stated.get("encoder", stated)
    if not isinstance(stated, Mapping):
        raise CheckpointError("the configuration's model.encoder is not an object")
    return stated
