"""Write the generated parts of the documentation: the models table and the settings table.

Run by ``make readme``. A part stands between ``<!-- name -->`` and ``<!-- /name -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from geobento.cards import ModelCard
from geobento.settings import Settings
from models.catalog import families

README = Path(__file__).resolve().parent.parent / "README.md"


def models_table() -> str:
    """One row per model, from the cards."""
    rows = ["| id | model | reads | dim | weights | aliases |", "|---|---|---|---|---|---|"]
    for cls in families():
        card = cls.card
        variant = card.variants[card.default_variant]
        rows.append(
            f"| `{card.id}` | {card.title} ({card.paper}) | {_reads(card)} | {variant.dim} "
            f"| {card.licence} | {', '.join(f'`{alias}`' for alias in card.aliases)} |"
        )
    return "\n".join(rows)


def settings_table() -> str:
    """One row per variable, from the settings class."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if name == "home":
            default = "~/.geobento"
        shown = f"`{default}`" if default not in (None, ()) else ""
        text = " ".join((field.description or "").split())
        rows.append(f"| `GEOBENTO_{name.upper()}` | {shown} | {text} |")
    return "\n".join(rows)


def rendered(text: str) -> str:
    """The text with its generated parts as they should be."""
    for name, content in (("models", models_table()), ("settings", settings_table())):
        pattern = re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"README.md has no place for {name}")
        block = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
        text = pattern.sub(lambda _, block=block: block, text)
    return text


def _reads(card: ModelCard) -> str:
    inputs = ["pictures"] if card.image is not None else []
    inputs += [spec.sensor.collection for spec in card.modalities.values()]
    return ", ".join(inputs)


if __name__ == "__main__":
    before = README.read_text()
    after = rendered(before)
    if "--check" in sys.argv[1:]:
        raise SystemExit(0 if before == after else "README.md is not up to date: make readme")
    README.write_text(after)
