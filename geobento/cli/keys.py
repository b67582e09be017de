"""Command `keys`: API keys."""

from __future__ import annotations

import click

from geobento.config import api_keys


@click.group()
def keys() -> None:
    """API keys of a service."""


@keys.command("new")
@click.argument("name")
def new_key(name: str) -> None:
    """Print a new key and its entry for GEOBENTO_API_KEYS."""
    try:
        key, entry = api_keys.generate_key(name)
    except ValueError:
        raise click.BadParameter("accepted: letters, digits, dots, - and _") from None
    click.echo(f"key (for the client, shown only here): {key}")
    click.echo(f"entry (for the service): {entry}")
