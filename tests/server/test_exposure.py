"""Warning for a service that other machines can reach without a key."""

from __future__ import annotations

import logging
import socket

import pytest

from server.exposure import listening_addresses, warn_if_public


@pytest.mark.parametrize(
    ("addresses", "with_keys", "warned"),
    [
        (["0.0.0.0"], False, True),
        (["127.0.0.1", "::"], False, True),
        (["192.0.2.7"], False, True),
        (["fe80::1%eth0"], False, True),
        (["0.0.0.0"], True, False),
        (["127.0.0.1", "127.8.8.8", "::1"], False, False),
        ([], False, False),
    ],
)
def test_a_warning_where_everyone_can_ask(
    caplog: pytest.LogCaptureFixture, addresses: list[str], with_keys: bool, warned: bool
) -> None:
    """Beyond this machine and without keys; it says what to do."""
    with caplog.at_level(logging.WARNING, "geobento"):
        warn_if_public(addresses, has_keys=with_keys)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warned
    assert ("GEOBENTO_API_KEYS" in caplog.text) == warned


def test_addresses_of_this_process() -> None:
    """A socket that listens is seen, with its address."""
    before = listening_addresses()
    with socket.create_server(("127.0.0.1", 0)):
        assert sorted(listening_addresses()) == sorted([*before, "127.0.0.1"])
