"""The command line `geobento`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from geobento.cli import images, keys, regions
from geobento.schemas.errors import GeoBentoError, MissingExtra, ModelStoreError, SettingsError
from geobento.version import __version__

LAZY_COMMANDS = {
    "models": "inference.cli:models",
    "demo-archive": "imagery.cli:demo_archive",
    "cache": "imagery.cli:cache",
}
"""Commands that need `geobento[serve]`, with their location. They are imported when called."""


class _LazyGroup(click.Group):
    """A group that imports `LAZY_COMMANDS` only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *LAZY_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LAZY_COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = LAZY_COMMANDS[cmd_name].partition(":")
        try:
            command: click.Command = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"`geobento {cmd_name}` needs: pip install 'geobento[serve]' "
                f"({error.name} is missing)"
            ) from None
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GeoBentoError as error:
            field = f" ({error.field})" if error.field else ""
            raise click.ClickException(f"{error.message}{field}") from None
        except (MissingExtra, ModelStoreError, SettingsError) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_LazyGroup)
@click.version_option(__version__, prog_name="geobento")
def main() -> None:
    """Images and regions into vectors."""


for _command in (
    images.classify,
    images.embed_image,
    images.embed_text,
    keys.keys,
    regions.embed,
    regions.embed_pixels,
    regions.inspect,
    regions.plan,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
