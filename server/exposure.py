"""Warning if the service is reachable from other machines without API keys."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable

import psutil

logger = logging.getLogger("geobento")


def warn_if_public(addresses: Iterable[str], *, has_keys: bool) -> None:
    """Log a warning if the service listens on public addresses and requires no API keys.

    Args:
        addresses: Addresses on which it listens.
        has_keys: Whether it requires API keys.
    """
    public = sorted({address for address in addresses if not is_loopback(address)})
    if public and not has_keys:
        logger.warning(
            "ANYONE WHO REACHES THIS MACHINE CAN USE THE SERVICE: it listens on %s and requires "
            "no API keys. Set GEOBENTO_API_KEYS, or listen on 127.0.0.1 (bentoml serve --host).",
            ", ".join(public),
        )


def is_loopback(address: str) -> bool:
    """Whether an address is reachable from this machine only."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def listening_addresses() -> list[str]:
    """Addresses on which this process listens; empty if the system does not tell."""
    try:
        connections = psutil.Process().net_connections("inet")
    except psutil.Error:
        return []
    return [
        connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN
    ]
