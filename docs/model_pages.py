"""One page per model, from its card."""

from __future__ import annotations

import json
import re

from geobento.schemas.cards import ImageInput, Modality, ModelCard, TextInput, TimeSeries
from imagery.collections import registry

_OWN = {
    "times": "`times` (the network is told when they are from)",
    "pixel_size": "`crs` and `transform` (the network is told how large a pixel is)",
}
HEADER = "<!-- Written by `make readme` from the model's card; changes belong there. -->"


def page(card: ModelCard) -> str:
    """The page of a model, Markdown."""
    sections = [
        HEADER,
        f"# {card.title}",
        f"`{card.id}`" + (f", also {_code(card.aliases)}" if card.aliases else ""),
        card.summary,
        f"{card.paper}. {_origin(card)}",
        _variants(card),
        _import(card),
        *([_pictures(card, card.image)] if card.image is not None else []),
        *([_texts(card, card.text)] if card.text is not None else []),
        *([_imagery(card)] if card.modalities else []),
        _answers(card),
        _options(card),
        *([_notes(card)] if card.notes else []),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(sections)) + "\n"


def _origin(card: ModelCard) -> str:
    if card.kind == "precomputed":
        return f"A finished product, no weights. Licence of its data: {card.licence}"
    return f"Weights: {card.licence} ({card.weights.source})."


def _variants(card: ModelCard) -> str:
    rows = ["| variant | dim | parameters | on the hub | |", "|---|---|---|---|---|"]
    for name, variant in card.variants.items():
        default = " (default)" if name == card.default_variant else ""
        size = f"{variant.parameters / 1e6:.1f} M" if variant.parameters else ""
        hub = f"`{variant.repository}`" if variant.repository else ""
        rows.append(f"| `{name}`{default} | {variant.dim} | {size} | {hub} | {variant.title} |")
    return "\n".join(rows)


def _import(card: ModelCard) -> str:
    variant = card.variants[card.default_variant]
    lines = [f"geobento models import {card.id}"]
    if variant.repository:
        files = f"--checkpoint {variant.files[0]}"
        if len(variant.files) > 1:
            files += f" --config {variant.files[1]}"
        if card.text is not None:
            files += " --tokenizer tokenizer.json"
        lines.append(f"geobento models import {card.id} {files}")
    if card.kind == "on_the_fly":
        dummy = "--weights dummy   # random numbers, for tests"
        lines.append(f"geobento models import {card.id} {dummy}")
    return _block("console", "\n".join(f"$ {line}" for line in lines))


def _pictures(card: ModelCard, image: ImageInput) -> str:
    request = {"model": card.id, "images": ["data:image/jpeg;base64,..."]}
    ways = [f"- default: {_steps(image)}"]
    ways += [
        f'- `config: {{"preprocessing": "{name}"}}`: {_steps(other)}'
        for name, other in card.image_alternatives.items()
    ]
    unit = "have unit length" if image.normalize else "are not scaled to unit length"
    return "\n\n".join(
        [
            "## Pictures",
            f"`POST /image_embedding`{_block('json', json.dumps(request))}",
            "How a picture is brought to the network:",
            "\n".join(ways),
            f"Vectors {unit} unless `normalize` says otherwise.",
        ]
    )


def _steps(image: ImageInput) -> str:
    steps = []
    if image.resize == "squash":
        steps.append(f"resized to {image.size} x {image.size}, aspect ratio not kept")
    elif image.resize == "shorter_side":
        steps.append(f"shorter side resized to {image.size}")
    if image.resize != "none":
        rounding = "rounded to 8 bits" if image.resize_in == "uint8" else "in floating point"
        steps[-1] += f" ({image.interpolation}, antialiased, {rounding})"
    if image.crop is not None:
        steps.append(f"centre {image.crop} x {image.crop} cut out")
    steps.append("divided by 255")
    if image.mean != (0, 0, 0) or image.std != (1, 1, 1):
        steps.append(f"mean {_numbers(image.mean)} subtracted, divided by {_numbers(image.std)}")
    return "; ".join(steps)


def _texts(card: ModelCard, text: TextInput) -> str:
    request = {"model": card.id, "texts": ["fields seen from above"]}
    return "\n\n".join(
        [
            "## Texts",
            f"`POST /text_embedding`{_block('json', json.dumps(request))}",
            f"Encoding is mended, HTML entities are resolved, white space is joined; then the "
            f"model's own vocabulary (`tokenizer.json` of `{text.tokenizer_repository}`) makes at "
            f"most {text.max_tokens} tokens. What goes beyond is cut off, and `meta.text` says so. "
            f"Vectors lie in the space of the pictures'; `POST /zero_shot_classification` "
            f"compares both.",
        ]
    )


def _imagery(card: ModelCard) -> str:
    own = [_OWN[need] for need in card.required_metadata]
    return "\n\n".join(
        [
            "## Places",
            *(_modality(name, spec, card) for name, spec in card.modalities.items()),
            *([f"Pixels of your own need {' and '.join(own)}."] if own else []),
        ]
    )


def _modality(name: str, spec: Modality, card: ModelCard) -> str:
    sensor = spec.sensor
    default = " (default)" if name == card.default_modality else ""
    size = f"{spec.size} x {spec.size} pixels" if spec.size else f"from {spec.min_pixels} pixels"
    if spec.max_pixels is not None:
        size += f", up to {spec.max_pixels:,} in all"
    frames = _series(spec.series) if spec.series is not None else ""
    clear = "" if sensor.cloudy_pct is None else f" with at most {sensor.cloudy_pct}% cloud"
    if spec.margin_days:
        clear += f" from {spec.margin_days} days before the window to as many after"
    if not registry.get(sensor.collection).stac_collections:
        frames += "; from Earth Engine alone"
    if spec.fixed_collection:
        frames += "; other collections are refused, pixels of your own are read"
    return (
        f"`{name}`{default}: `{sensor.collection}`, bands {_code(sensor.bands)} in {spec.units} at "
        f"{sensor.scale_m:g} m, {sensor.composite} of scenes{clear}; {size}{frames}.{_choice(spec)}"
    )


def _series(series: TimeSeries) -> str:
    """How a window goes into frames."""
    if series.days_per_frame is None:
        return f"; {series.default_frames} composites in time (up to {series.max_frames} with `n_frames`)"
    return (
        f"; a composite for every {series.days_per_frame} days of the window, up to {series.default_frames} "
        f"(with `n_frames` up to {series.max_frames})"
    )


def _choice(spec: Modality) -> str:
    """Which other bands a sensor may name."""
    others = ""
    if spec.selectable_bands:
        others = f" A sensor may name any of {_code(spec.selectable_bands)}, in any order"
        if spec.band_options is not None:
            others += f", and others with the option `{spec.band_options}`"
        others += "."
    if spec.wavelengths_um:
        found = (f"`{band}` {value:g}" for band, value in spec.wavelengths_um.items())
        others += f" Wavelengths in micrometres: {', '.join(found)}."
    return others


def _answers(card: ModelCard) -> str:
    return f"## Answers\n\n{', '.join(card.outputs)}; the vector: {card.pooling}."


def _options(card: ModelCard) -> str:
    schema = json.dumps(card.options, indent=1)
    return f"## Options\n\nKeys of `config` and `model_config`:\n\n{_block('json', schema)}"


def _notes(card: ModelCard) -> str:
    return "## Where others differ\n\n" + "\n".join(f"- {note}" for note in card.notes)


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _numbers(values: tuple[float, ...]) -> str:
    distinct = values[:1] if len(set(values)) == 1 else values
    return ", ".join(f"{value:g}" for value in distinct)


def _block(language: str, content: str) -> str:
    return f"\n\n```{language}\n{content}\n```"
