"""What the examples of the documentation are answered with, computed with the demo archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from docs.markdown import json_block
from geobento.config.settings import Settings
from geobento.schemas import serialization
from geobento.schemas.requests import GeoEmbeddingRequest, ImageEmbeddingRequest, InspectRequest
from inference.importing import import_model
from pipeline.local_engine import LocalEngine

ROOT = Path(__file__).resolve().parent.parent
SHOWN_NUMBERS = 3
ELLIPSIS = {"...": "..."}
SHORT_META = ("tag", "precision", "backend", "notice", "scenes", "crs", "valid_fraction")
"""Metadata in the answers of the README."""


def answers() -> dict[str, str]:
    """Answers by the name of their part, most numbers left out; short ones for the README."""
    stored = import_model("mosaiks")
    engine = LocalEngine(Settings(models=(stored.tag,), stac=None, cache=False))
    geo = GeoEmbeddingRequest.model_validate(_example(GeoEmbeddingRequest))
    patch = InspectRequest.model_validate(_example(InspectRequest))
    image = ImageEmbeddingRequest(
        model="mosaiks", images=[(ROOT / "tests" / "data" / "field.jpg").read_bytes()]
    )
    shown: dict[str, dict[str, Any]] = {}
    for name, embeddings in (
        ("image", engine.image_embedding(image)),
        ("geo", engine.geo_embedding(geo)),
    ):
        answer = orjson.loads(serialization.encode_embeddings("mosaiks", 1024, embeddings, "float"))
        shown[name] = _embeddings(answer)
        shown[f"short-{name}"] = _short(shown[name])
    shown["plan"] = _plan(engine.plan_embedding(geo).model_dump(mode="json"))
    shown["inspect"] = _inspection(engine.inspect_patch(patch).model_dump(mode="json"))
    return {f"{name}-answer": json_block(answer) for name, answer in shown.items()}


def _example(cls: type[BaseModel]) -> dict[str, Any]:
    example: dict[str, Any] = cls.model_json_schema()["examples"][0]
    return example


def _embeddings(answer: dict[str, Any]) -> dict[str, Any]:
    for entry in answer["embeddings"]:
        # Rounded: the last digits depend on the processor.
        entry["data"] = [round(number, 3) for number in entry["data"][:SHOWN_NUMBERS]] + ["..."]
        entry["meta"] = _without_empty(entry["meta"])
        entry["meta"]["timing_ms"] = ELLIPSIS
        if "sensor" in entry["meta"]:
            entry["meta"]["sensor"] = _sensor(entry["meta"]["sensor"])
    return answer


def _short(answer: dict[str, Any]) -> dict[str, Any]:
    entries = []
    for entry in answer["embeddings"]:
        meta = {name: entry["meta"][name] for name in SHORT_META if name in entry["meta"]}
        if "scenes" in meta:
            meta["scenes"] = [scene["id"] for scene in meta["scenes"]]
        entries.append({**entry, "meta": meta | ELLIPSIS})
    return {**answer, "embeddings": entries}


def _plan(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"sensor": _sensor(answer["sensor"])}


def _inspection(answer: dict[str, Any]) -> dict[str, Any]:
    band: dict[str, Any] = {
        name: round(value, 1) if isinstance(value, float) else value
        for name, value in answer["bands"][0].items()
    }
    for name, values in band["histogram"].items():
        band["histogram"][name] = [*values[:SHOWN_NUMBERS], "..."]
    names = ("modality", "units", "valid_fraction", "warnings", "notice")
    shown = {name: answer[name] for name in names}
    return shown | {"bands": [band, "..."], "quicklook": "iVBORw0KGgo...", **ELLIPSIS}


def _without_empty(meta: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in meta.items() if value not in (None, {}, [])}


def _sensor(sensor: dict[str, Any]) -> dict[str, Any]:
    return {name: sensor[name] for name in ("collection", "cloudy_pct", "composite")} | ELLIPSIS
