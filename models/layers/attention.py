"""Transformer blocks whose attention differs from the one in timm."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, num_heads: int, bias: Tensor | None = None
) -> Tensor:
    """Scaled dot-product attention of several heads.

    Args:
        query: (B, N, D).
        key: (B, M, D).
        value: (B, M, D).
        num_heads: Heads; divides D.
        bias: Added to the scores before the softmax, broadcast to (B, heads, N, M).

    Returns:
        (B, N, D).
    """
    query, key, value = (
        part.view(*part.shape[:2], num_heads, -1).transpose(1, 2) for part in (query, key, value)
    )
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return mixed.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        projected: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return projected


class Block(nn.Module):
    """Pre-norm block: attention and feed-forward, each with a residual connection.

    Args:
        dim: Width D of the tokens.
        attention: Attention module; is called with the normed tokens and `context`.
        mlp_ratio: Hidden width of the feed-forward layers in units of D.
        eps: Added to the variance in both norms.
    """

    def __init__(
        self, dim: int, attention: nn.Module, mlp_ratio: float, *, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Tensor, *context: Tensor | None) -> Tensor:
        """(B, N, D) to (B, N, D); `context` is passed on to the attention."""
        tokens = tokens + self.attn(self.norm1(tokens), *context)
        output: Tensor = tokens + self.mlp(self.norm2(tokens))
        return output
