"""API keys as the settings hold them."""

from __future__ import annotations

import hashlib

import pytest
from click.testing import CliRunner

from geobento.cli.app import main
from geobento.config import api_keys, settings
from geobento.schemas.errors import SettingsError


def test_a_new_key() -> None:
    """Long and random; its entry holds the hash and can be read back."""
    (key, entry), (other, _) = api_keys.generate_key("app-1"), api_keys.generate_key("app-1")
    assert key != other
    assert len(key) >= 43
    assert entry.digest == hashlib.sha256(key.encode()).hexdigest()
    assert api_keys.parse_key(str(entry)) == entry
    assert api_keys.parse_key(f"app-1:{entry.digest.upper()}") == entry


@pytest.mark.parametrize(
    "text", ["", "secret", "app:secret", f"{'a' * 64}", f":{'a' * 64}", f"a b:{'a' * 64}"]
)
def test_invalid_entries(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A key in plain is refused, and not repeated in the message."""
    with pytest.raises(ValueError, match="accepted: NAME:SHA256"):
        api_keys.parse_key(text)
    monkeypatch.setenv("GEOBENTO_API_KEYS", f"app:{'a' * 64},{text or 'secret'}")
    with pytest.raises(SettingsError, match="GEOBENTO_API_KEYS: ") as caught:
        settings.load()
    assert "secret" not in str(caught.value)


def test_the_command() -> None:
    """It prints the key once, and what the service has to know."""
    lines = CliRunner().invoke(main, ["keys", "new", "maps"]).output.splitlines()
    key, entry = (line.rpartition(" ")[2] for line in lines)
    assert api_keys.parse_key(entry) == api_keys.ApiKey(
        "maps", hashlib.sha256(key.encode()).hexdigest()
    )
    assert CliRunner().invoke(main, ["keys", "new", "a b"]).exit_code != 0
