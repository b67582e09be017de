"""From the tokens of a network to vectors or grids, the same for every model."""

from __future__ import annotations

import torch

from geobento.schemas.errors import ModelError
from inference.types import Pooling
from models.types import Encoded


def grid_tokens(encoded: Encoded) -> torch.Tensor:
    """Tokens of the grid, (B, h * w, D)."""
    if encoded.feature_map is not None:
        return encoded.feature_map.flatten(2).transpose(1, 2)
    return encoded.tokens[:, encoded.num_prefix_tokens :]


def pool(encoded: Encoded, pooling: Pooling) -> torch.Tensor:
    """Vectors, (B, D).

    Args:
        encoded: Output of the network.
        pooling: `native`: the vector of the reference implementation, which is the mean if the
            network has no other. `mean`: over the area that the grid tokens cover. `max`: over the
            grid tokens. `cls`: the class token.

    Raises:
        ModelError: The network has no class token.
    """
    if pooling == "cls":
        if encoded.class_token is None:
            raise ModelError(
                "these weights have no class token; accepted: native, mean, max",
                field="output.pooling",
            )
        return encoded.class_token.float()
    if pooling == "native" and encoded.vector is not None:
        return encoded.vector.float()
    tokens = grid_tokens(encoded).float()
    if encoded.valid is None:
        return _pool_tokens(tokens, encoded.area_weights, pooling)
    return torch.cat(
        [
            _pool_tokens(row[None, valid], _valid_weights(encoded.area_weights, valid), pooling)
            for row, valid in zip(tokens, encoded.valid, strict=True)
        ]
    )


def _valid_weights(area_weights: torch.Tensor | None, valid: torch.Tensor) -> torch.Tensor | None:
    return None if area_weights is None else area_weights[valid] / area_weights[valid].sum()


def _pool_tokens(
    tokens: torch.Tensor, weights: torch.Tensor | None, pooling: Pooling
) -> torch.Tensor:
    if pooling == "max":
        return tokens.amax(dim=1)
    if weights is None:
        return tokens.mean(dim=1)
    return (tokens * weights[None, :, None]).sum(dim=1)


def token_grid(encoded: Encoded) -> torch.Tensor:
    """Grids (B, D, h, w), first row north."""
    tokens = grid_tokens(encoded).float()
    height, width = encoded.grid_shape
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)
