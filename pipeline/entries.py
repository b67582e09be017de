"""Prepared entries: the model inputs and the response context of an image, text or region."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from geobento.observability import metrics
from geobento.schemas.embedding import TextMeta
from geobento.schemas.errors import GeoBentoError
from geobento.schemas.requests import ImageEmbeddingRequest, PixelEmbeddingRequest, ZeroShotRequest
from geobento.schemas.sample import Sample
from inference.types import EncodeItem, Pooling
from models.base import Model
from pipeline.assembly.embedding import ResponseContext
from pipeline.inputs import images as inputs_images
from pipeline.inputs.input_checks import check_pixels
from pipeline.model_registry import ModelHandle
from pipeline.planning import temporal
from pipeline.planning.geo import GeoPlan, is_unit_length
from pipeline.planning.tiling import Tiling
from pipeline.planning.user_pixels import UserPixelsPlan
from pipeline.prepared_requests import PreparedEntry

_USER_PIXELS_FIELDS = {
    "spatial": "pixels",
    "sensor": "pixels",
    "sensor.bands": "bands",
    "temporal": "times",
}
"""Field of a request with user-supplied pixels, by the field of a request for a region that
errors of the preparation name."""


def image_entry(
    handle: ModelHandle,
    request: ImageEmbeddingRequest | ZeroShotRequest,
    payload: str | bytes | GeoBentoError,
    position: int,
    *,
    normalize: bool | None,
    max_megapixels: float,
) -> PreparedEntry:
    """Decode and prepare an image.

    Args:
        handle: The model.
        request: The request.
        payload: The image as sent or downloaded, or the error of its download.
        position: Index of the image in the request.
        normalize: Whether to scale to unit length; None: as the card says.
        max_megapixels: Maximum size of the image, millions of pixels.
    """
    preprocessing = request.config.get("preprocessing")
    spec = handle.model.image_input(preprocessing)
    start = time.perf_counter()
    try:
        if isinstance(payload, GeoBentoError):
            raise payload
        data = inputs_images.decode_payload(payload)
        image = inputs_images.decode_image(data, max_megapixels, spec)
        inputs = handle.model.prepare_image(image, preprocessing)
    except GeoBentoError as error:
        error.field = f"images.{position}"
        return error
    context = ResponseContext(
        handle.served,
        spec.modality,
        spec.pooling,
        spec.normalize if normalize is None else normalize,
        handle.precision,
        config=request.config,
        timing_ms={"prepare": _milliseconds_since(start)},
    )
    item = EncodeItem(inputs=inputs, pooling=spec.pooling, preprocessing=preprocessing)
    return [item], context


def text_entry(
    handle: ModelHandle, text: str, field: str, *, normalize: bool | None
) -> PreparedEntry:
    """Tokenize a text.

    Args:
        handle: The model.
        text: The text.
        field: Field of the request that holds it, for errors.
        normalize: Whether to scale to unit length; None: as the card says.
    """
    spec = handle.model.card.text
    assert spec is not None
    try:
        tokens = handle.model.prepare_text(text)
    except GeoBentoError as error:
        error.field = field
        return error
    context = ResponseContext(
        handle.served,
        spec.modality,
        "native",
        spec.normalize if normalize is None else normalize,
        handle.precision,
        text=TextMeta(tokens=tokens.num_tokens, truncated=tokens.truncated),
    )
    return [EncodeItem(inputs=tokens.to_inputs(spec), pooling="native")], context


def region_entry(
    handle: ModelHandle,
    plan: GeoPlan,
    samples: Sequence[Sample],
    config: Mapping[str, Any],
    fetch_ms: float,
) -> PreparedEntry:
    """Check and prepare the fetched pixels of a region.

    Args:
        handle: The model.
        plan: The plan of the region.
        samples: Its samples, of the modality itself and of the auxiliary ones, in order.
        config: Options of the model that the request sets.
        fetch_ms: Time of the fetch, milliseconds.
    """
    start = time.perf_counter()
    model = handle.model.with_options(config)
    for sample in samples:
        if sample.provenance is not None:
            metrics.count_fetch(sample.provenance.backend, sample.cached)
    try:
        sample = temporal.merge_samples(handle.served.card, samples)
        warnings = check_pixels(sample, plan.query)
        for query in (plan.query, *plan.auxiliary):
            warnings += temporal.missing_frames_warnings(
                query, sample.extras.get(query.modality, sample)
            )
        items = _encode_items(model, sample, plan.tiling, plan.encode_pooling)
    except GeoBentoError as error:
        return error
    context = ResponseContext(
        handle.served,
        plan.query.modality,
        plan.pooling,
        is_unit_length(handle.served.card, plan.query.modality, plan.pooling),
        handle.precision,
        plan.query,
        sample.without_pixels(),
        config=config,
        auxiliary=plan.auxiliary,
        tiling=plan.tiling,
        area=plan.area,
        warnings=warnings,
        timing_ms={"fetch": fetch_ms, "prepare": _milliseconds_since(start)},
    )
    return items, context


def user_pixels_entry(
    handle: ModelHandle, request: PixelEmbeddingRequest, plan: UserPixelsPlan, start: float
) -> PreparedEntry:
    """Prepare user-supplied pixels.

    Args:
        handle: The model.
        request: The request.
        plan: Its plan.
        start: Value of `time.perf_counter` when work on the request began.

    Raises:
        GeoBentoError: The model cannot read the pixels.
    """
    try:
        model = handle.model.with_options(request.config)
        items = _encode_items(model, plan.sample, plan.tiling, plan.encode_pooling)
    except GeoBentoError as error:
        error.field = _USER_PIXELS_FIELDS.get(error.field or "", error.field)
        raise
    context = ResponseContext(
        handle.served,
        plan.sample.modality,
        plan.pooling,
        is_unit_length(handle.served.card, plan.sample.modality, plan.pooling),
        handle.precision,
        sample=plan.sample.without_pixels(),
        config=request.config,
        tiling=plan.tiling,
        warnings=plan.warnings,
        timing_ms={"prepare": _milliseconds_since(start)},
    )
    return items, context


def _encode_items(
    model: Model, sample: Sample, tiling: Tiling | None, pooling: Pooling | None
) -> list[EncodeItem]:
    """The encoder's inputs of one region, one per tile."""
    tiles = [sample] if tiling is None else tiling.split_sample(sample)
    return [EncodeItem(inputs=model.prepare(tile), pooling=pooling) for tile in tiles]


def _milliseconds_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
