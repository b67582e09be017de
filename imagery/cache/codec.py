"""Lossless serialization of samples: safetensors with a JSON header and a SHA-256 digest. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors.numpy import load, save

from geobento.schemas.sample import Sample

DIGEST_BYTES = hashlib.sha256().digest_size
LENGTH_BYTES = 8
"""Size of the header length field of safetensors."""
EXCLUDED_FIELDS = frozenset({"cached"})
"""Fields of a sample that are not stored: they describe the delivery, not the content."""


class CorruptEntry(Exception):
    """The bytes are damaged or belong to another key."""


class NotSerializable(Exception):
    """A field of the sample would change in a round trip."""


@dataclass(frozen=True)
class CacheEntry:
    """The content of a cache file.

    Attributes:
        sample: Sample as the source returned it.
        expires_at: Time of expiry, UTC. None if the entry never expires.
    """

    sample: Sample
    expires_at: datetime | None = None


def encode(entry: CacheEntry, key: str) -> bytes:
    """Serialize an entry.

    Raises:
        NotSerializable: The sample would differ when read back.
    """
    arrays: dict[str, NDArray[Any]] = {}
    expires = None if entry.expires_at is None else entry.expires_at.isoformat()
    try:
        sample = _sample_to_header(entry.sample, "", arrays)
        head = json.dumps({"key": key, "expires": expires, "sample": sample})
        body = save(arrays, {"entry": head})
        back = _sample_from_header(json.loads(head)["sample"], "", arrays)
    except Exception as error:
        raise NotSerializable(str(error)) from error
    if _without_arrays(back) != _without_arrays(entry.sample):
        raise NotSerializable("a field of the sample changes in a round trip")
    return hashlib.sha256(body).digest() + body


def decode(data: bytes, key: str) -> CacheEntry:
    """Deserialize an entry.

    Raises:
        CorruptEntry: The bytes are incomplete, changed, or belong to another key.
    """
    digest, body = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise CorruptEntry("its digest does not match")
    try:
        length = int.from_bytes(body[:LENGTH_BYTES], "little")
        header = json.loads(body[LENGTH_BYTES : LENGTH_BYTES + length])
        head = json.loads(header["__metadata__"]["entry"])
        expires = head["expires"]
        entry = CacheEntry(
            _sample_from_header(head["sample"], "", load(body)),
            None if expires is None else datetime.fromisoformat(expires),
        )
    except Exception as error:
        raise CorruptEntry(f"it cannot be read ({type(error).__name__})") from error
    if head["key"] != key:
        raise CorruptEntry("it belongs to another key")
    return entry


def _sample_to_header(
    sample: Sample, prefix: str, arrays: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    """The fields of a sample as JSON. Arrays are moved to `arrays`, under their prefixed names."""
    head: dict[str, Any] = {}
    for field in fields(sample):
        value = getattr(sample, field.name)
        if field.name in EXCLUDED_FIELDS:
            continue
        if value is None:
            head[field.name] = None
        elif isinstance(value, np.ndarray):
            arrays[prefix + field.name] = np.asarray(value, order="C")
        elif field.name == "extras":
            head["extras"] = {
                name: _sample_to_header(extra, f"{prefix}{name}/", arrays)
                for name, extra in value.items()
            }
        else:
            head[field.name] = _adapter(field.name).dump_python(
                value, mode="json", warnings="error"
            )
    return head


def _sample_from_header(
    header: Mapping[str, Any], prefix: str, arrays: Mapping[str, NDArray[Any]]
) -> Sample:
    values: dict[str, Any] = {}
    for field in fields(Sample):
        name = field.name
        if prefix + name in arrays:
            values[name] = arrays[prefix + name]
        elif name == "extras":
            values[name] = {
                extra: _sample_from_header(part, f"{prefix}{extra}/", arrays)
                for extra, part in header[name].items()
            }
        elif name not in EXCLUDED_FIELDS:
            values[name] = (
                None if header[name] is None else _adapter(name).validate_python(header[name])
            )
    return Sample(**values)


@cache
def _adapter(field: str) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(Sample)[field])


def _without_arrays(sample: Sample) -> Sample:
    """The sample without its arrays, so that it can be compared with ``==``."""
    bare = {
        field.name: None
        for field in fields(sample)
        if field.name in EXCLUDED_FIELDS or isinstance(getattr(sample, field.name), np.ndarray)
    }
    extras = {name: _without_arrays(extra) for name, extra in sample.extras.items()}
    return replace(sample, **{**bare, "extras": extras})  # type: ignore[arg-type]
