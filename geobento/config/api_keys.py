"""API keys as the settings hold them: a name and the sha256 of the key, never the key."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

_KEY_PATTERN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([0-9a-fA-F]{64})")
ACCEPTED_FORM = (
    "accepted: NAME:SHA256, where SHA256 are the 64 hexadecimal digits of the key's sha256"
)


@dataclass(frozen=True)
class ApiKey:
    """A key that a service accepts.

    Attributes:
        name: Whose it is.
        digest: Sha256 of the key, hexadecimal.
    """

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{self.digest}"


def parse_key(text: str) -> ApiKey:
    """An entry of the settings.

    Raises:
        ValueError: It is none; the message does not hold it, as it may be a key.
    """
    found = _KEY_PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"an entry cannot be read; {ACCEPTED_FORM}")
    return ApiKey(found[1], found[2].lower())


def generate_key(name: str) -> tuple[str, ApiKey]:
    """A new key of 256 random bits, and what a service has to know of it.

    Sha256 alone protects keys that are as random as these; it would not protect passwords.

    Raises:
        ValueError: The name cannot stand in the settings.
    """
    key = secrets.token_urlsafe(32)
    return key, parse_key(f"{name}:{hashlib.sha256(key.encode()).hexdigest()}")
