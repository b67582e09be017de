"""The name of a patch: everything that determines its pixels, as one digest. Pure."""

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
"""Version of `imagery.cache.codec`; another one reads none of the old files."""
PROCESSING_VERSION = 1
"""Version of how scenes become pixels. It has to grow with every change after which the same
query gives other pixels, or old ones would still be answered."""


def patch_key(query: ImageQuery, backend: str, fingerprint: Sequence[str]) -> str:
    """A digest, 64 hexadecimal digits, that differs where pixels may.

    Whatever fields a query has, and its sensor and grid, are part of it, and so is what
    `imagery.collections.registry` says of the collection.

    Args:
        query: What is fetched.
        backend: Word of the source.
        fingerprint: What tells the source from others of its kind.
    """
    collection = registry.COLLECTIONS.get(query.sensor.collection)
    determining = [FORMAT_VERSION, PROCESSING_VERSION, backend, fingerprint, collection, query]
    text = json.dumps(_canonical(determining), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """The same as JSON; equal numbers and instants, however written, become equal."""
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
    raise TypeError(f"no place in a key for {type(value).__name__}")
