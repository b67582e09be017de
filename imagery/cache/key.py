"""The cache key of a patch: a digest of everything that determines its pixels. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from imagery.collections import registry
from imagery.query import ImageQuery

FORMAT_VERSION = 1
"""Version of `imagery.cache.codec`. Raising it invalidates all cached files."""
PROCESSING_VERSION = 1
"""Version of the way from scenes to pixels. Raise it with every change after which the same query
returns other pixels; otherwise old pixels are still served."""


def patch_key(query: ImageQuery, backend: str, fingerprint: Sequence[str]) -> str:
    """The key of a query: 64 hexadecimal digits.

    All fields of the query, its sensor and its grid are part of the digest, and so is the
    collection's record in `imagery.collections.registry`.

    Args:
        query: The query.
        backend: Backend of the source.
        fingerprint: Identifies the source among those of the backend.
    """
    collection = registry.COLLECTIONS.get(query.sensor.collection)
    determining = [FORMAT_VERSION, PROCESSING_VERSION, backend, fingerprint, collection, query]
    text = json.dumps(_canonical(determining), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """JSON of a value in which equal numbers and equal instants have one spelling."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if is_dataclass(value):
        return {field.name: _canonical(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _canonical(entry) for name, entry in value.items()}
    if isinstance(value, Sequence):
        return [_canonical(entry) for entry in value]
    raise TypeError(f"a cache key cannot contain {type(value).__name__}")
