"""``geobento demo-archive``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import Progress


@click.command("demo-archive")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), required=False)
def demo_archive(directory: Path | None) -> None:
    """Write the demo archive: a static STAC catalog of synthetic imagery.

    DIRECTORY defaults to the place where the service looks for it.
    """
    from geobento import settings
    from imagery.demo import write_demo_archive

    directory = directory or settings.load().demo_archive
    with Progress(transient=True) as progress:
        task = progress.add_task("demo archive", total=None)
        try:
            catalog = write_demo_archive(
                directory,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        except FileExistsError as error:
            raise click.ClickException(str(error)) from None
    click.echo(catalog)
