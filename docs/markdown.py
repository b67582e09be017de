"""Markdown from data: tables, blocks, and the generated parts of a file. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; line breaks and bars in cells are escaped."""
    lines = [_row(header), "|" + "---|" * len(header)]
    return "\n".join([*lines, *(_row([cell(text) for text in row]) for row in rows)])


def cell(text: str) -> str:
    """Text on one line that does not end a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(names: Iterable[str]) -> str:
    """Names as code, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def block(language: str, content: str) -> str:
    """A fenced block."""
    return f"```{language}\n{content}\n```"


def json_block(answer: Mapping[str, Any]) -> str:
    """JSON with short lists on one line; the string `...` stands for what is left out."""
    text = json.dumps(answer, indent=1, ensure_ascii=False)
    text = text.replace('"..."', "...").replace("...: ...", "...")
    compact = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    return block("text", compact)


def with_parts(text: str, parts: Mapping[str, str], comment: str = "") -> str:
    """A text with its generated parts replaced.

    Args:
        text: Each part stands between ``<!-- name -->`` and ``<!-- /name -->``.
        parts: Name -> content.
        comment: What starts a comment in a file that is not Markdown.

    Raises:
        ValueError: The text has no such part.
    """
    for name, content in parts.items():
        pattern = re.compile(f"{comment}<!-- {name} -->.*?{comment}<!-- /{name} -->", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"no part {name!r}")
        part = f"{comment}<!-- {name} -->\n{content}\n{comment}<!-- /{name} -->"
        text = pattern.sub(part.replace("\\", r"\\"), text)
    return text


def part_names(text: str) -> list[str]:
    """Names of the generated parts of a text."""
    return re.findall(r"<!-- /([\w-]+) -->", text)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
