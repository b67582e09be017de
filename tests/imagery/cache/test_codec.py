"""Samples as bytes."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from geobento.schemas.sample import Sample
from imagery.cache.codec import (
    EXCLUDED_FIELDS,
    CacheEntry,
    CorruptEntry,
    NotSerializable,
    decode,
    encode,
)
from tests.imagery.patches import sample_of

KEY = "0" * 64


def same(one: Sample, other: Sample) -> None:
    """Every field, and every bit of the arrays."""
    for field in fields(Sample):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert a.tobytes() == b.tobytes()
        elif field.name == "extras":
            assert a.keys() == b.keys()
            for name in a:
                same(a[name], b[name])
        elif field.name not in EXCLUDED_FIELDS:
            assert a == b, field.name


@pytest.mark.parametrize(
    "sample",
    [
        sample_of(1),
        sample_of(2, valid=None, grid=None, times=(), provenance=None),
        sample_of(3, extras={"dem": sample_of(4, 8), "s1": sample_of(5)}),
        sample_of(6, parts=(0, 2, 3)),
        replace(sample_of(7), pixels=sample_of(7).pixels.transpose(0, 2, 1)[:, ::2]),
        replace(sample_of(8), pixels=np.arange(24, dtype=np.uint8).reshape(2, 3, 4)),
        replace(sample_of(9), pixels=np.zeros((3, 2, 8, 8), np.float32)),
    ],
)
def test_samples_round_trip(sample: Sample) -> None:
    """NaN and the sign of zero, microseconds, fractions, frames, side inputs."""
    expires = datetime(2023, 7, 1, 1, 2, 3, 4, UTC)
    for until in (None, expires):
        entry = decode(encode(CacheEntry(sample, until), KEY), KEY)
        same(sample, entry.sample)
        assert entry.expires_at == until


def test_arrays_of_a_cached_sample_are_writable() -> None:
    """They can be written to: torch warns of arrays that cannot."""
    sample = decode(encode(CacheEntry(sample_of(1)), KEY), KEY).sample
    assert sample.pixels.flags.writeable
    assert sample.pixels.flags.c_contiguous


def test_damage_is_detected() -> None:
    """Cut off anywhere, any byte changed, anything appended, of another key."""
    data = encode(CacheEntry(sample_of(1)), KEY)
    chance = random.Random(1)
    damaged = [data[:length] for length in (0, 1, 31, 32, 40, len(data) - 1)]
    damaged += [data[: chance.randrange(len(data))] for _ in range(50)]
    for position in (0, 32, 40, *(chance.randrange(len(data)) for _ in range(50))):
        damaged.append(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
    damaged += [data + b"\0", b"\0" * len(data)]
    for content in damaged:
        with pytest.raises(CorruptEntry):
            decode(content, KEY)
    with pytest.raises(CorruptEntry):
        decode(data, "1" * 64)


@pytest.mark.parametrize(
    "given",
    [
        {"extras": {"depth": object()}},
        {"extras": {"depth": 3}},
        {"bands": (1, 2)},
        {"pixels": np.array([["text"]])},
        {"times": ("soon",)},
    ],
)
def test_samples_that_do_not_round_trip_are_not_cached(given: dict[str, Any]) -> None:
    """No entry rather than a changed one."""
    with pytest.raises(NotSerializable):
        encode(CacheEntry(replace(sample_of(1), **given)), KEY)
