"""A vision transformer that sees groups of channels apart.

Every group has patches of its own; all of them attend to each other. Architecture: Cong et al.,
SatMAE, 2207.08051; Noman et al., SatMAE++, 2403.05419.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from models.optional_import import optional_import


class GroupChannelViT(nn.Module):
    """The encoder, with the parameter names of the authors' files.

    Args:
        img_size: Side of the image, pixels.
        patch_size: Side of a patch, pixels.
        channel_groups: Channels of the image that each group takes.
        embed_dim: Width of the network.
        channel_embed: Of it, what tells the groups apart; the rest tells the positions apart.
        depth: Blocks.
        num_heads: Attention heads of a block.
        mlp_ratio: Hidden width of a block's last part over `embed_dim`.
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
        seen = torch.stack(
            [
                embed(images[:, group])
                for embed, group in zip(self.patch_embed, self.channel_groups, strict=True)
            ],
            dim=1,
        )
        groups, patches = seen.shape[1:3]
        # The class token has no position and no group: the first row of the table is not used.
        places = self.pos_embed[:, None, 1:].expand(-1, groups, -1, -1)
        kinds = self.channel_embed[:, :, None].expand(-1, -1, patches, -1)
        tokens = (seen + torch.cat([places, kinds], dim=-1)).flatten(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed
