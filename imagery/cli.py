"""``geobento demo-archive`` and ``geobento cache``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import Progress

if TYPE_CHECKING:
    from geobento.config.settings import Settings
    from imagery.cache.store import PatchStore


@click.command("demo-archive")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), required=False)
def demo_archive(directory: Path | None) -> None:
    """Write the demo archive: a static STAC catalog of synthetic imagery.

    DIRECTORY defaults to the path where the service looks for it.
    """
    from geobento.config import settings
    from imagery.demo.archive import write_demo_archive

    directory = directory or settings.load().demo_archive
    with Progress(transient=True) as progress:
        task = progress.add_task("demo archive", total=None)
        try:
            catalog = write_demo_archive(
                directory,
                progress=lambda completed, total: progress.update(
                    task, completed=completed, total=total
                ),
            )
        except FileExistsError as error:
            raise click.ClickException(str(error)) from None
    click.echo(catalog)


@click.group()
def cache() -> None:
    """Inspect or clear the cache of fetched pixels."""


@cache.command()
def info() -> None:
    """Show the number of cached patches, their size and last use."""
    settings, store = _open_store()
    try:
        files = store.list_files()
    except OSError as error:
        raise click.ClickException(f"the cache cannot be read ({error.strerror})") from None
    patches = [file for file in files if file.is_complete]
    click.echo(f"folder      {settings.patches}")
    click.echo(f"in use      {'yes' if settings.cache else 'no, GEOBENTO_CACHE is off'}")
    click.echo(f"patches     {len(patches)}")
    size = sum(file.size for file in files)
    click.echo(f"size        {_format_mib(size)} of {_format_mib(settings.patches_bytes)} MiB")
    if patches:
        click.echo(f"oldest use  {_format_time(patches[0].last_used)}")
        click.echo(f"newest use  {_format_time(patches[-1].last_used)}")


@cache.command()
def clear() -> None:
    """Remove all cached patches. Running services are not affected."""
    _, store = _open_store()
    try:
        count, size = store.clear()
    except OSError as error:
        raise click.ClickException(f"the cache cannot be emptied ({error.strerror})") from None
    click.echo(f"removed {count} patches, {_format_mib(size)} MiB")


@cache.command()
def path() -> None:
    """Print the cache directory."""
    settings, _ = _open_store()
    click.echo(settings.patches)


def _open_store() -> tuple[Settings, PatchStore]:
    from geobento.config import settings
    from imagery.cache.store import PatchStore

    config = settings.load()
    return config, PatchStore(config.patches, config.patches_bytes)


def _format_mib(size: int) -> str:
    return f"{size / 2**20:.1f}"


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
