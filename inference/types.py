"""What is sent to a loaded model, and what it returns."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

Pooling: TypeAlias = Literal["native", "mean", "max", "cls"]
"""How grid tokens become one vector. `native`: as in the reference implementation."""
Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]
"""Data type of weights and forward passes. In `int8`, large linear layers are int8 and all other
layers bfloat16 or float32."""


class EncodeItem(BaseModel):
    """Prepared inputs of one sample, and what to compute from them."""

    model_config = ConfigDict(frozen=True)

    inputs: dict[str, Any]
    """Arrays by input name, without a batch axis."""
    pooling: Pooling | None
    """How to pool the grid into one vector; None: return the grid."""
    preprocessing: str | None = None
    """Image preprocessing; None: as in the reference implementation."""
    sent_at: float | None = None
    """Time at which it was sent to a runner, Unix seconds."""
    deadline: float | None = None
    """Deadline, Unix seconds."""
    request_id: str | None = None
    """Id of its request, for the log."""


class EncodeResult(BaseModel):
    """Result or error of one item."""

    model_config = ConfigDict(frozen=True)

    data: Any = None
    """float32 array (D,) or (D, h, w); NaN in grid cells without data."""
    pixel_margin: float = 0.0
    """Input pixels at every side that the grid does not cover."""
    num_prefix_tokens: int = 0
    """Tokens of the network before those of the grid."""
    error: dict[str, Any] | None = None
    """Body of the error, if the item failed."""
    queue_s: float = 0.0
    """Time between sending and the start of the forward pass, seconds."""
    forward_s: float = 0.0
    """Time of the batch that the item was in, seconds."""
