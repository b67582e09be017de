"""Forward passes of the towers of open_clip's networks."""

from __future__ import annotations

from typing import Any

import torch

from models.types import Encoded


def encode_images(visual: Any, images: torch.Tensor) -> Encoded:
    """Tokens before the last norm, the class token after it, and the vector in the shared space.

    Args:
        visual: A vision transformer or a residual network of open_clip.
        images: (B, 3, H, W), standardized.
    """
    outputs = visual.forward_intermediates(images, indices=1, output_extra_tokens=True)
    (grid,) = outputs["image_intermediates"]
    # A residual network has no class token; its vector is an attention over the grid.
    prefix = outputs.get("image_intermediates_prefix", [])
    tokens = torch.cat([*prefix, grid.flatten(2).transpose(1, 2)], dim=1)
    height, width = grid.shape[-2:]
    return Encoded(
        tokens,
        (height, width),
        num_prefix_tokens=tokens.shape[1] - height * width,
        vector=outputs["image_features"],
        class_token=visual.ln_post(tokens[:, 0]) if prefix else None,
    )


def encode_texts(network: Any, ids: torch.Tensor) -> Encoded:
    """Tokens after the last norm, and the projected end token.

    Args:
        network: A network of open_clip with CLIP's text tower.
        ids: (B, L) with L up to the context of the tower. The end token has the highest id.
            Attention is causal, so padding after it has no effect.
    """
    length = ids.shape[1]
    tokens = network.token_embedding(ids) + network.positional_embedding[:length]
    tokens = network.transformer(tokens, attn_mask=network.attn_mask[:length, :length])
    tokens = network.ln_final(tokens)
    rows = torch.arange(len(ids), device=ids.device)
    ends = tokens[rows, ids.argmax(dim=1)]
    return Encoded(tokens, (1, length), vector=ends @ network.text_projection)
