"""Who can reach the service."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable

import psutil

logger = logging.getLogger("geobento")


def warn_if_public(addresses: Iterable[str], *, has_keys: bool) -> None:
    """Say so where the service listens beyond this machine and wants no keys."""
    beyond = sorted({address for address in addresses if not is_loopback(address)})
    if beyond and not has_keys:
        logger.warning(
            "ANYONE WHO REACHES THIS MACHINE CAN USE THE SERVICE: it listens on %s and wants no "
            "API keys. Set GEOBENTO_API_KEYS, or listen on 127.0.0.1 (bentoml serve --host).",
            ", ".join(beyond),
        )


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def listening_addresses() -> list[str]:
    """Addresses on which this process listens; none where the system does not tell."""
    try:
        connections = psutil.Process().net_connections("inet")
    except psutil.Error:
        return []
    return [one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN]
