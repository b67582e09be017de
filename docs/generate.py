"""Write what is generated: parts of the README (tables, two answers) and a page per model.

Run by ``make readme``. A part stands between ``<!-- name -->`` and ``<!-- /name -->``. The
answers come from the way of a request itself, with the demo archive.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import orjson

from docs.model_pages import page
from geobento import wire
from geobento.cards import ModelCard
from geobento.requests import GeoEmbeddingRequest, ImageEmbeddingRequest
from geobento.settings import Settings
from models.catalog import families
from models.importing import import_model
from pipeline.local import LocalEngine

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MODEL_PAGES = ROOT / "docs" / "models"
SHOWN_NUMBERS = 3


def models_table() -> str:
    """One row per model, from the cards."""
    rows = ["| id | model | reads | dim | weights | aliases |", "|---|---|---|---|---|---|"]
    for cls in families():
        card = cls.card
        variant = card.variants[card.default_variant]
        rows.append(
            f"| [`{card.id}`](docs/models/{card.id}.md) | {card.title} ({card.paper}) "
            f"| {_reads(card)} | {variant.dim} "
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
        if isinstance(default, bool):
            default = "on" if default else "off"
        shown = f"`{default}`" if default not in (None, ()) else ""
        text = " ".join((field.description or "").split())
        rows.append(f"| `GEOBENTO_{name.upper()}` | {shown} | {text} |")
    return "\n".join(rows)


def answers() -> tuple[str, str]:
    """What the README's two requests are answered with, most numbers left out."""
    stored = import_model("mosaiks")
    engine = LocalEngine(Settings(models=(stored.tag,), stac=None, cache=False))
    picture = (ROOT / "tests" / "data" / "field.jpg").read_bytes()
    geo = GeoEmbeddingRequest.model_json_schema()["examples"][0]
    found = (
        engine.image_embedding(ImageEmbeddingRequest(model="mosaiks", images=[picture])),
        engine.geo_embedding(GeoEmbeddingRequest.model_validate(geo)),
    )
    image, place = (
        _shown(wire.encode_answer("mosaiks", 1024, embeddings, "float")) for embeddings in found
    )
    return image, place


def rendered(text: str) -> str:
    """The text with its generated parts as they should be."""
    image, place = answers()
    parts = {
        "models": models_table(),
        "settings": settings_table(),
        "image-answer": image,
        "geo-answer": place,
    }
    for name, content in parts.items():
        pattern = re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"README.md has no place for {name}")
        block = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
        text = pattern.sub(block.replace("\\", r"\\"), text)
    return text


def _shown(body: bytes) -> str:
    answer = orjson.loads(body)
    for entry in answer["embeddings"]:
        # Rounded: the last digits depend on the processor.
        entry["data"] = [round(number, 3) for number in entry["data"][:SHOWN_NUMBERS]] + ["..."]
        meta = entry["meta"]
        if meta["sensor"] is not None:
            meta["sensor"] = {
                name: meta["sensor"][name] for name in ("collection", "cloudy_pct", "composite")
            } | {"...": "..."}
        meta["timing_ms"] = {"...": "..."}
        for name in [name for name, value in meta.items() if value is None or value in ({}, [])]:
            del meta[name]
    text = json.dumps(answer, indent=1).replace('"..."', "...").replace("...: ...", "...")
    compact = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    return f"```\n{compact}\n```"


def _reads(card: ModelCard) -> str:
    inputs = ["pictures"] if card.image is not None else []
    inputs += ["texts"] if card.text is not None else []
    inputs += [spec.sensor.collection for spec in card.modalities.values()]
    return ", ".join(inputs)


def files() -> dict[Path, str]:
    """Everything that is generated: file -> content."""
    pages = {MODEL_PAGES / f"{cls.card.id}.md": page(cls.card) for cls in families()}
    return {README: rendered(README.read_text()), **pages}


if __name__ == "__main__":
    wanted = files()
    stale = [file for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    surplus = sorted(set(MODEL_PAGES.glob("*.md")) - wanted.keys())
    if "--check" in sys.argv[1:]:
        names = ", ".join(str(file.relative_to(ROOT)) for file in (*stale, *surplus))
        raise SystemExit(f"not up to date: {names}; run: make readme" if names else 0)
    MODEL_PAGES.mkdir(exist_ok=True)
    for file in stale:
        file.write_text(wanted[file])
    for file in surplus:
        file.unlink()
