"""The reference of the command line, from its commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from docs.markdown import code, table
from geobento.cli.app import main


def commands() -> str:
    """A section per command: what it does, its usage, its options."""
    context = click.Context(main, info_name="geobento")
    return "\n\n".join(_section(command, inner) for command, inner in _leaves(main, context))


def _leaves(
    group: click.Group, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    """Commands that are no groups, each with its context."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _leaves(command, inner)
        else:
            yield command, inner


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    help_text = inspect.cleandoc((command.help or "").replace("\b", ""))
    options = [
        option
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    parts = [f"## {context.command_path}", help_text, f"`{context.command_path} {usage}`"]
    if options:
        parts.append(table(("option", "default", "meaning"), map(_row, options)))
    return "\n\n".join(parts)


def _row(option: click.Option) -> tuple[str, str, str]:
    names = code([*option.opts, *option.secondary_opts])
    if not option.is_flag:
        values = option.metavar or (
            " or ".join(option.type.choices)
            if isinstance(option.type, click.Choice)
            else option.type.name.upper()
        )
        names += f" {values}"
    if option.required:
        return names, "required", option.help or ""
    default = option.to_info_dict()["default"]
    shown = "" if callable(default) or default in (None, False, ()) else code([str(default)])
    return names, shown, option.help or ""
