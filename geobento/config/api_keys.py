"""API keys in settings: a name and the SHA-256 of the key, never the key."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

_KEY_PATTERN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([0-9a-fA-F]{64})")
ACCEPTED_FORM = (
    "accepted: NAME:SHA256, where SHA256 is the SHA-256 of the key, 64 hexadecimal digits"
)


@dataclass(frozen=True)
class ApiKey:
    """A key that a service accepts.

    Attributes:
        name: Name of the client.
        digest: SHA-256 of the key, hexadecimal.
    """

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{self.digest}"


def parse_key(text: str) -> ApiKey:
    """Parse an entry of the settings.

    Raises:
        ValueError: It has another form; the message does not hold it, because it may be a key.
    """
    match = _KEY_PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"an entry cannot be read; {ACCEPTED_FORM}")
    return ApiKey(match[1], match[2].lower())


def generate_key(name: str) -> tuple[str, ApiKey]:
    """A new key of 256 random bits, and its entry for the settings.

    A plain SHA-256 is enough for random keys; it would not be for passwords.

    Raises:
        ValueError: The name is not valid.
    """
    key = secrets.token_urlsafe(32)
    return key, parse_key(f"{name}:{hashlib.sha256(key.encode()).hexdigest()}")
