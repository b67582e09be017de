"""``geobento models``: list, describe, import and remove models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from geobento.schemas.errors import GeoBentoError, ModelStoreError
from models.registry import get_model_class, list_model_classes

if TYPE_CHECKING:
    from models.weights.stored_model import StoredModel


@click.group()
def models() -> None:
    """List, describe, import and remove models."""


@models.command("list")
def list_command() -> None:
    """List all models, and which of them are in the model store."""
    from models.weights import store

    stored_by_id: dict[str, list[StoredModel]] = {}
    for stored in store.list_models():
        stored_by_id.setdefault(stored.metadata["model"], []).append(stored)
    table = Table("model", "title", "dim", "stored as", "weights", box=None)
    for cls in list_model_classes():
        card = cls.card
        entries = stored_by_id.get(card.id, [])
        table.add_row(
            card.id,
            card.title,
            "\n".join(map(_format_dim, entries)) or str(card.variants[card.default_variant].dim),
            "\n".join(entry.tag for entry in entries) or "-",
            "\n".join(entry.metadata["weights"] for entry in entries) or "-",
        )
    Console(width=None if Console().is_terminal else 160).print(table)


def _format_dim(stored: StoredModel) -> str:
    try:
        return str(stored.model().dim)
    except ModelStoreError:
        return "damaged"


@models.command()
@click.argument("name")
def describe(name: str) -> None:
    """Print the card of a model as JSON."""
    click.echo(get_model_class(name).card.model_dump_json(indent=2))


@models.command("import")
@click.argument("name")
@click.option("--variant", help="Variant of the model; default: the one of its card.")
@click.option(
    "--checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE"
)
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE"
)
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="tokenizer.json; default: the one beside the checkpoint.",
)
@click.option("--weights", type=click.Choice(["dummy"]), help="Random weights, for tests.")
def import_command(
    name: str,
    variant: str | None,
    checkpoint: Path | None,
    config: Path | None,
    tokenizer: Path | None,
    weights: str | None,
) -> None:
    """Save a model into the model store."""
    from inference.importing import import_model
    from models.checkpoints.files import CheckpointError

    try:
        stored = import_model(
            name,
            variant=variant,
            checkpoint=checkpoint,
            config=config,
            tokenizer=tokenizer,
            dummy=weights == "dummy",
        )
    except CheckpointError as error:
        raise click.ClickException(str(error)) from None
    click.echo(stored.tag)


@models.command()
@click.argument("name")
def remove(name: str) -> None:
    """Delete a model (ID, or ID:VERSION) from the model store."""
    from models.weights import store

    try:
        click.echo(f"removed {store.remove(name)}")
    except (GeoBentoError, ModelStoreError) as error:
        raise click.ClickException(str(error)) from None
