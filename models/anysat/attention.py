"""Attention with relative positions, as AnySat computes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.anysat.encodings import NUM_BUCKETS
from models.layers.attention import FeedForward, multi_head_attention


class RelativePositionBias(nn.Module):
    """Bias on attention scores that depends on the query and the distance of the key."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lookup_table_weight = nn.Parameter(torch.randn(1, width, NUM_BUCKETS) * 0.02)

    def forward(self, query: Tensor, buckets: Tensor) -> Tensor:
        """Bias (B, 1, N, M) from queries (B, N, width) of one head and buckets (N, M)."""
        table = query @ self.lookup_table_weight[0]
        return table.gather(2, buckets.expand(len(query), -1, -1))[:, None]


class Attention(nn.Module):
    """Multi-head self-attention, optionally with relative positions."""

    def __init__(self, dim: int, num_heads: int, *, relative: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rpe_k = RelativePositionBias(dim // num_heads) if relative else None

    def forward(self, tokens: Tensor, buckets: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); `buckets` (N, N) are needed for relative positions."""
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        bias = None
        if self.rpe_k is not None and buckets is not None:
            width = query.shape[-1] // self.num_heads
            bias = self.rpe_k(query[..., :width] * width**-0.5, buckets)
        output: Tensor = self.proj(multi_head_attention(query, key, value, self.num_heads, bias))
        return output


class CrossAttention(nn.Module):
    """Attention whose queries are one learned vector plus position encodings."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_learned = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.wk = nn.Linear(dim, dim)
        self.wv = nn.Linear(dim, dim)
        self.rpe_k = RelativePositionBias(dim // num_heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, encodings: Tensor, buckets: Tensor) -> Tensor:
        """Answers (B, Q, D) of tokens (B, N, D) for positions (Q, D) and buckets (Q, N)."""
        query = self.q_learned + encodings
        # Unlike in the other blocks, the query is not scaled here.
        bias = self.rpe_k(query[..., : query.shape[-1] // self.num_heads], buckets)
        mixed = multi_head_attention(
            query.expand(len(tokens), -1, -1),
            self.wk(tokens),
            self.wv(tokens),
            self.num_heads,
            bias.expand(len(tokens), -1, -1, -1),
        )
        output: Tensor = self.proj(mixed)
        return output


class CrossBlock(nn.Module):
    """Cross-attention without a residual connection, and feed-forward with one."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, *, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = CrossAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Tensor, encodings: Tensor, buckets: Tensor) -> Tensor:
        """As `CrossAttention`."""
        answers = self.attn(self.norm1(tokens), encodings, buckets)
        output: Tensor = answers + self.mlp(self.norm2(answers))
        return output
