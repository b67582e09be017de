"""Write what is generated: parts of the README and of `docs/settings.md`, a page per model, and
the OpenAPI document.

Run by ``make readme``. A part stands between ``<!-- name -->`` and ``<!-- /name -->``. The
answers come from the way of a request itself, with the demo archive.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from compat import openapi as other_apis
from docs.model_pages import page
from geobento import __version__
from geobento.config.settings import Settings
from geobento.schemas import serialization
from geobento.schemas.cards import ModelCard
from geobento.schemas.requests import GeoEmbeddingRequest, ImageEmbeddingRequest, InspectRequest
from models.registry import list_model_classes
from models.weights.importer import import_model
from pipeline.local_engine import LocalEngine
from server.openapi import document as openapi_document

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SETTINGS = ROOT / "docs" / "settings.md"
MODEL_PAGES = ROOT / "docs" / "models"
OPENAPI = ROOT / "docs" / "openapi.json"
SHOWN_NUMBERS = 3
MORE = {"...": "..."}


def models_table() -> str:
    """One row per model, from the cards."""
    rows = ["| id | model | reads | dim | weights | aliases |", "|---|---|---|---|---|---|"]
    for cls in list_model_classes():
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
        if name == "data_dir":
            default = "~/.geobento"
        if isinstance(default, bool):
            default = "on" if default else "off"
        shown = f"`{default}`" if default not in (None, ()) else ""
        text = " ".join((field.description or "").split())
        rows.append(f"| `GEOBENTO_{name.upper()}` | {shown} | {text} |")
    return "\n".join(rows)


def answers() -> dict[str, str]:
    """What the README's requests are answered with, most numbers left out."""
    stored = import_model("mosaiks")
    engine = LocalEngine(Settings(models=(stored.tag,), stac=None, cache=False))
    picture = (ROOT / "tests" / "data" / "field.jpg").read_bytes()
    geo = GeoEmbeddingRequest.model_validate(_example(GeoEmbeddingRequest))
    patch = InspectRequest.model_validate(_example(InspectRequest))
    found = {
        "image": engine.image_embedding(ImageEmbeddingRequest(model="mosaiks", images=[picture])),
        "geo": engine.geo_embedding(geo),
    }
    shown = {
        name: _embeddings(
            orjson.loads(serialization.encode_embeddings("mosaiks", 1024, embeddings, "float"))
        )
        for name, embeddings in found.items()
    }
    shown["plan"] = engine.plan_embedding(geo).model_dump(mode="json")
    shown["plan"]["sensor"] = _sensor(shown["plan"]["sensor"])
    shown["inspect"] = _inspection(engine.inspect_patch(patch).model_dump(mode="json"))
    return {f"{name}-answer": _block(answer) for name, answer in shown.items()}


def _example(cls: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = cls.model_json_schema()["examples"][0]
    return found


def rendered(file: Path, parts: dict[str, str]) -> str:
    """The text of a file with its generated parts as they should be."""
    text = file.read_text()
    for name, content in parts.items():
        pattern = re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{file.name} has no place for {name}")
        block = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
        text = pattern.sub(block.replace("\\", r"\\"), text)
    return text


def _embeddings(answer: dict[str, Any]) -> dict[str, Any]:
    for entry in answer["embeddings"]:
        # Rounded: the last digits depend on the processor.
        entry["data"] = [round(number, 3) for number in entry["data"][:SHOWN_NUMBERS]] + ["..."]
        entry["meta"] = _told(entry["meta"])
        entry["meta"]["timing_ms"] = MORE
    return answer


def _inspection(answer: dict[str, Any]) -> dict[str, Any]:
    band: dict[str, Any] = {
        name: round(value, 1) if isinstance(value, float) else value
        for name, value in answer["bands"][0].items()
    }
    for name, values in band["histogram"].items():
        band["histogram"][name] = [*values[:SHOWN_NUMBERS], "..."]
    shown = ("modality", "units", "valid_fraction", "warnings", "notice")
    told = {name: answer[name] for name in shown}
    return told | {"bands": [band, "..."], "quicklook": "iVBORw0KGgo...", **MORE}


def _told(meta: dict[str, Any]) -> dict[str, Any]:
    """Metadata without what there is nothing to say of."""
    told = {n: value for n, value in meta.items() if value is not None and value not in ({}, [])}
    return told | ({"sensor": _sensor(meta["sensor"])} if meta["sensor"] is not None else {})


def _sensor(sensor: dict[str, Any]) -> dict[str, Any]:
    return {name: sensor[name] for name in ("collection", "cloudy_pct", "composite")} | MORE


def _block(answer: dict[str, Any]) -> str:
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
    pages = {MODEL_PAGES / f"{cls.card.id}.md": page(cls.card) for cls in list_model_classes()}
    document = openapi_document.build_document(__version__, other_apis.operations())
    return {
        README: rendered(README, {"models": models_table(), **answers()}),
        SETTINGS: rendered(SETTINGS, {"settings": settings_table()}),
        OPENAPI: json.dumps(document, indent=1, ensure_ascii=False) + "\n",
        **pages,
    }


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
