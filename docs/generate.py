"""Write the generated documentation: parts of pages, a page per model, the OpenAPI document.

Run by ``make docs-generate``. A part stands between ``<!-- name -->`` and ``<!-- /name -->``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from compat import openapi as compat_openapi
from docs import endpoints
from docs.answers import answers
from docs.commands import commands
from docs.functions import functions_table
from docs.markdown import part_names, with_parts
from docs.metrics_table import metrics_table
from docs.model_pages import page
from docs.model_table import aliases_table, models_table
from docs.settings_table import settings_table
from geobento import __version__
from models.registry import list_model_classes
from server.openapi import document as openapi_document

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MODEL_PAGES = DOCS / "models"
OPENAPI = DOCS / "openapi.json"
SITE = ROOT / "mkdocs.yml"
COMMENTS = {".yml": "# "}
"""What starts a comment, by suffix; nothing in Markdown."""


def files() -> dict[Path, str]:
    """Everything that is generated: file -> content."""
    cards = [cls.card for cls in list_model_classes()]
    document = openapi_document.build_document(__version__, compat_openapi.operations())
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    parts = {
        **answers(),
        **endpoints.parts(document),
        "operations": endpoints.operations(document),
        "records": endpoints.records(document),
        "models": models_table(cards, (DOCS / "benchmarks.md").read_text()),
        "aliases": aliases_table(cards),
        "model-nav": "\n".join(
            f"      - {json.dumps(card.title)}: models/{card.id}.md" for card in cards
        ),
        "settings": settings_table(),
        "metrics": metrics_table(),
        "commands": commands(),
        "functions": functions_table(),
    }
    pages = {MODEL_PAGES / f"{card.id}.md": page(card) for card in cards}
    return {OPENAPI: text, **pages, **_with_parts(parts)}


def _with_parts(parts: Mapping[str, str]) -> dict[Path, str]:
    """The files that have generated parts, as they should be.

    Raises:
        SystemExit: A file has a part that is not generated, or a part is in no file.
    """
    result: dict[Path, str] = {}
    missing = set(parts)
    for file in (ROOT / "README.md", SITE, *sorted(DOCS.glob("*.md"))):
        text = file.read_text()
        names = part_names(text)
        if unknown := sorted(set(names) - parts.keys()):
            raise SystemExit(f"{file.name} has parts that are not generated: {unknown}")
        if names:
            comment = COMMENTS.get(file.suffix, "")
            result[file] = with_parts(text, {name: parts[name] for name in names}, comment)
        missing -= set(names)
    if missing:
        raise SystemExit(f"no page has the parts: {', '.join(sorted(missing))}")
    return result


def main() -> None:
    """Write what is not up to date; with ``--check`` fail instead."""
    contents = files()
    stale = [file for file, text in contents.items() if _differs(file, text)]
    surplus = sorted(set(MODEL_PAGES.glob("*.md")) - contents.keys())
    if "--check" in sys.argv[1:]:
        names = ", ".join(str(file.relative_to(ROOT)) for file in (*stale, *surplus))
        raise SystemExit(f"not up to date: {names}; run: make docs-generate" if names else 0)
    MODEL_PAGES.mkdir(exist_ok=True)
    for file in stale:
        file.write_text(contents[file])
    for file in surplus:
        file.unlink()


def _differs(file: Path, text: str) -> bool:
    return not file.exists() or file.read_text() != text


if __name__ == "__main__":
    main()
