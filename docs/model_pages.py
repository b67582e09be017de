"""One page per model, from its card. Pure."""

from __future__ import annotations

import json

from docs.endpoints import fields
from docs.markdown import block, code, table
from geobento.schemas.cards import ImageInput, Modality, ModelCard, TextInput, TimeSeries
from imagery.collections import registry

HEADER = "<!-- Written by `make docs-generate` from the model's card; edit the card instead. -->"
REQUIRED_METADATA = {
    "times": "`times` (the network reads dates)",
    "pixel_size": "`crs` and `transform` (the network reads the size of a pixel)",
}
"""What user-supplied pixels have to say, by the name that cards use."""


def page(card: ModelCard) -> str:
    """The page of a model, Markdown."""
    sections = [
        HEADER,
        f"# {card.title}",
        f"Id: `{card.id}`" + (f". Aliases: {code(card.aliases)}." if card.aliases else "."),
        card.summary,
        f"{card.paper}. {_origin(card)}",
        "## Variants",
        _variants(card),
        _import(card),
    ]
    if card.image is not None:
        sections += _images(card, card.image)
    if card.text is not None:
        sections += _texts(card, card.text)
    if card.modalities:
        sections += _imagery(card)
    sections += ["## Answers", f"{', '.join(card.outputs)}. The vector: {card.pooling}."]
    sections += [
        "## Options",
        "Keys of `config` and `model_config`:",
        fields({"properties": card.options}),
    ]
    if card.notes:
        sections += ["## Where others differ", "\n".join(f"- {note}" for note in card.notes)]
    return "\n\n".join(sections) + "\n"


def _origin(card: ModelCard) -> str:
    if card.kind == "precomputed":
        return f"Precomputed, no weights. Licence of the data: {card.licence}"
    return f"Weights: {card.licence} ({card.weights.source})."


def _variants(card: ModelCard) -> str:
    rows = []
    for name, variant in card.variants.items():
        default = " (default)" if name == card.default_variant else ""
        size = f"{variant.parameters / 1e6:.1f} M" if variant.parameters else ""
        hub = f"`{variant.repository}`" if variant.repository else ""
        rows.append((f"`{name}`{default}", str(variant.dim), size, hub, variant.title))
    return table(("variant", "dim", "parameters", "on the hub", "what it is"), rows)


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
    return block("console", "\n".join(f"$ {line}" for line in lines))


def _images(card: ModelCard, image: ImageInput) -> list[str]:
    request = {"model": card.id, "images": ["data:image/jpeg;base64,..."]}
    preprocessing = [f"- default: {_steps(image)}"]
    preprocessing += [
        f'- `config: {{"preprocessing": "{name}"}}`: {_steps(other)}'
        for name, other in card.image_alternatives.items()
    ]
    unit = "have unit length" if image.normalize else "are not scaled to unit length"
    return [
        "## Images",
        "`POST /image_embedding`",
        block("json", json.dumps(request)),
        "Preprocessing:",
        "\n".join(preprocessing),
        f"Vectors {unit} unless `normalize` says otherwise.",
    ]


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
        steps.append(f"center crop of {image.crop} x {image.crop}")
    steps.append("divided by 255")
    if image.mean != (0, 0, 0) or image.std != (1, 1, 1):
        steps.append(f"mean {_numbers(image.mean)} subtracted, divided by {_numbers(image.std)}")
    return "; ".join(steps)


def _texts(card: ModelCard, text: TextInput) -> list[str]:
    request = {"model": card.id, "texts": ["fields seen from above"]}
    return [
        "## Texts",
        "`POST /text_embedding`",
        block("json", json.dumps(request)),
        f"Broken encodings are repaired, HTML entities decoded, and white space joined. The "
        f"model's own tokenizer (`tokenizer.json` of `{text.tokenizer_repository}`) makes at most "
        f"{text.max_tokens} tokens. Longer texts are cut off, and `meta.text` says so. Vectors "
        f"lie in the space of those of images; `POST /zero_shot_classification` compares both.",
    ]


def _imagery(card: ModelCard) -> list[str]:
    sections = ["## Satellite imagery", "`POST /geo_embedding`"]
    for name, spec in card.modalities.items():
        default = " (default)" if name == card.default_modality else ""
        sections += [f"### {name}{default}", table(("property", "value"), _modality(spec))]
    if card.required_metadata:
        needed = " and ".join(REQUIRED_METADATA[name] for name in card.required_metadata)
        sections.append(f"[User-supplied pixels](../user-pixels.md) need {needed}.")
    return sections


def _modality(spec: Modality) -> list[tuple[str, str]]:
    sensor = spec.sensor
    rows = [
        ("collection", f"`{sensor.collection}`{_source(spec)}"),
        ("bands", code(sensor.bands) + _selectable(spec)),
        ("units", spec.units),
        ("pixel size", f"{sensor.scale_m:g} m"),
        ("input", _input_size(spec)),
        ("composite", _composite(spec)),
    ]
    if spec.series is not None:
        rows.append(("frames", _frames(spec.series)))
    if spec.wavelengths_um:
        values = (f"`{band}` {value:g}" for band, value in spec.wavelengths_um.items())
        rows.append(("wavelengths, micrometres", ", ".join(values)))
    return rows


def _source(spec: Modality) -> str:
    """Restrictions on where the pixels come from."""
    collection = registry.get(spec.sensor.collection)
    text = "" if collection.stac_collections else ", from Earth Engine alone"
    if spec.fixed_collection:
        text += "; other collections are refused, user-supplied pixels are read"
    return text


def _selectable(spec: Modality) -> str:
    """Which other bands a sensor may name."""
    if not spec.selectable_bands:
        return ""
    text = f"; a sensor may name any of {code(spec.selectable_bands)}, in any order"
    if spec.band_options is not None:
        text += f", and others with the option `{spec.band_options}`"
    return text


def _input_size(spec: Modality) -> str:
    size = f"{spec.size} x {spec.size} pixels" if spec.size else "any size"
    if spec.size is None:
        size += f", at least {spec.min_pixels} x {spec.min_pixels} pixels"
    if spec.max_pixels is not None:
        size += f", at most {spec.max_pixels:,} pixels in all"
    return size


def _composite(spec: Modality) -> str:
    text = f"{spec.sensor.composite} of scenes"
    if spec.sensor.cloudy_pct is not None:
        text += f" with at most {spec.sensor.cloudy_pct:g}% cloud"
    if spec.margin_days:
        text += f", from {spec.margin_days} days before the window to as many after"
    return text


def _frames(series: TimeSeries) -> str:
    """How a window is split into frames."""
    if series.days_per_frame is None:
        return f"{series.default_frames}; up to {series.max_frames} with `n_frames`"
    return (
        f"one for every {series.days_per_frame} days of the window, up to "
        f"{series.default_frames}; up to {series.max_frames} with `n_frames`"
    )


def _numbers(values: tuple[float, ...]) -> str:
    distinct = values[:1] if len(set(values)) == 1 else values
    return ", ".join(f"{value:g}" for value in distinct)
