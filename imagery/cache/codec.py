"""A sample as bytes and back, exactly: safetensors with a JSON header, behind a digest. Pure."""

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
"""What safetensors says the length of its header in."""
NOT_KEPT = frozenset({"cached"})
"""Fields of a sample that say how it came and not what it is."""


class Damaged(Exception):
    """These bytes are not what was written under this key."""


class CannotKeep(Exception):
    """A sample holds something that would not come back as it is."""


@dataclass(frozen=True)
class Entry:
    """What a file holds.

    Attributes:
        sample: As it came from the source.
        expires: From when on it is not to be used, UTC; None: never.
    """

    sample: Sample
    expires: datetime | None = None


def encode(entry: Entry, key: str) -> bytes:
    """The content of the file for a key.

    Raises:
        CannotKeep: It would not be the same when read.
    """
    arrays: dict[str, NDArray[Any]] = {}
    expires = None if entry.expires is None else entry.expires.isoformat()
    try:
        sample = _head(entry.sample, "", arrays)
        head = json.dumps({"key": key, "expires": expires, "sample": sample})
        body = save(arrays, {"entry": head})
        back = _sample(json.loads(head)["sample"], "", arrays)
    except Exception as error:
        raise CannotKeep(str(error)) from error
    if _without_arrays(back) != _without_arrays(entry.sample):
        raise CannotKeep("a field of the sample does not come back as it was")
    return hashlib.sha256(body).digest() + body


def decode(data: bytes, key: str) -> Entry:
    """What was written under a key.

    Raises:
        Damaged: The bytes are incomplete, changed, or of another key.
    """
    digest, body = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise Damaged("its digest does not fit")
    try:
        length = int.from_bytes(body[:LENGTH_BYTES], "little")
        header = json.loads(body[LENGTH_BYTES : LENGTH_BYTES + length])
        head = json.loads(header["__metadata__"]["entry"])
        expires = head["expires"]
        entry = Entry(
            _sample(head["sample"], "", load(body)),
            None if expires is None else datetime.fromisoformat(expires),
        )
    except Exception as error:
        raise Damaged(f"it cannot be read ({type(error).__name__})") from error
    if head["key"] != key:
        raise Damaged("it belongs to another key")
    return entry


def _head(sample: Sample, prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The fields of a sample as JSON, less its arrays, which are collected under their names."""
    head: dict[str, Any] = {}
    for field in fields(sample):
        value = getattr(sample, field.name)
        if field.name in NOT_KEPT:
            continue
        if value is None:
            head[field.name] = None
        elif isinstance(value, np.ndarray):
            arrays[prefix + field.name] = np.asarray(value, order="C")
        elif field.name == "extras":
            head["extras"] = {
                name: _head(extra, f"{prefix}{name}/", arrays) for name, extra in value.items()
            }
        else:
            head[field.name] = _adapter(field.name).dump_python(
                value, mode="json", warnings="error"
            )
    return head


def _sample(head: Mapping[str, Any], prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Sample:
    found: dict[str, Any] = {}
    for field in fields(Sample):
        name = field.name
        if prefix + name in arrays:
            found[name] = arrays[prefix + name]
        elif name == "extras":
            found[name] = {
                extra: _sample(part, f"{prefix}{extra}/", arrays)
                for extra, part in head[name].items()
            }
        elif name not in NOT_KEPT:
            found[name] = None if head[name] is None else _adapter(name).validate_python(head[name])
    return Sample(**found)


@cache
def _adapter(field: str) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(Sample)[field])


def _without_arrays(sample: Sample) -> Sample:
    """What of a sample can be compared at once."""
    bare = {
        field.name: None
        for field in fields(sample)
        if field.name in NOT_KEPT or isinstance(getattr(sample, field.name), np.ndarray)
    }
    extras = {name: _without_arrays(extra) for name, extra in sample.extras.items()}
    return replace(sample, **{**bare, "extras": extras})  # type: ignore[arg-type]
