"""The encoders of SatMAE++: a plain vision transformer, and one with groups of channels.

Architecture: Cong et al., SatMAE, 2207.08051; Noman et al., SatMAE++, 2403.05419.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from models.optional_import import optional_import


def image_encoder(*, norm_eps: float, **sizes: float) -> nn.Module:
    """Timm's vision transformer, whose parameters have the names of the released files.

    Args:
        norm_eps: Added to the variance in every norm.
        sizes: Arguments of timm's class.
    """
    network: nn.Module = optional_import("timm.models.vision_transformer").VisionTransformer(
        **sizes, num_classes=0, global_pool="", norm_layer=partial(nn.LayerNorm, eps=norm_eps)
    )
    return network


class GroupChannelViT(nn.Module):
    """Every group of channels has its own patches; the patches of all groups attend to each other.

    Parameters have the names of the released files.

    Args:
        img_size: Side of the image, pixels.
        patch_size: Side of a patch, pixels.
        channel_groups: Channels of the image that each group takes.
        embed_dim: Width D of the tokens.
        channel_embed: Width of the group encoding; the position encoding has the rest of D.
        depth: Blocks.
        num_heads: Attention heads of a block.
        mlp_ratio: Hidden width of the feed-forward layers in units of D.
        norm_eps: Added to the variance in every norm.
    """

    def __init__(
        self,
        *,
        img_size: int,
        patch_size: int,
        channel_groups: Sequence[Sequence[int]],
        embed_dim: int,
        channel_embed: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        blocks = optional_import("timm.models.vision_transformer")
        self.channel_groups = [list(group) for group in channel_groups]
        self.patch_embed = nn.ModuleList(
            blocks.PatchEmbed(img_size, patch_size, len(group), embed_dim)
            for group in self.channel_groups
        )
        patches = (img_size // patch_size) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + patches, embed_dim - channel_embed))
        self.channel_embed = nn.Parameter(torch.zeros(1, len(self.channel_groups), channel_embed))
        self.blocks = nn.ModuleList(
            blocks.Block(
                embed_dim,
                num_heads,
                mlp_ratio,
                qkv_bias=True,
                norm_layer=partial(nn.LayerNorm, eps=norm_eps),
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens after the last norm.

        Args:
            images: (B, C, H, W).

        Returns:
            (B, 1 + groups * patches, D): the class token, then group by group the patches row by
            row.
        """
        embedded = torch.stack(
            [
                embed(images[:, group])
                for embed, group in zip(self.patch_embed, self.channel_groups, strict=True)
            ],
            dim=1,
        )
        groups, patches = embedded.shape[1:3]
        # The class token has no position and no group: the first row of the table is not used.
        positions = self.pos_embed[:, None, 1:].expand(-1, groups, -1, -1)
        channels = self.channel_embed[:, :, None].expand(-1, -1, patches, -1)
        tokens = (embedded + torch.cat([positions, channels], dim=-1)).flatten(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed


def mean_over_groups(tokens: Tensor, groups: int) -> Tensor:
    """(B, 1 + groups * n, D), group by group, to (B, 1 + n, D) with the mean of the groups."""
    by_group = torch.stack(tokens[:, 1:].chunk(groups, dim=1))
    return torch.cat([tokens[:, :1], by_group.mean(dim=0)], dim=1)
