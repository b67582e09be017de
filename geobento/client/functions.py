"""The Python functions: the same request in-process or against a server."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from geobento.client.engine import get_engine
from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.errors import GeoBentoError, InvalidRequest
from geobento.schemas.plan import EmbeddingPlan, Inspection
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.schemas.specs import (
    Backend,
    Device,
    FetchSpec,
    InputPrepSpec,
    OutputGrid,
    OutputPooled,
    OutputSpec,
    Region,
    SensorSpec,
    TemporalRange,
    TemporalYear,
)
from geobento.schemas.validation import validated

Result = TypeVar("Result")


def get_embedding(
    model: str,
    *,
    spatial: Region | dict[str, Any],
    temporal: TemporalRange | TemporalYear | None = None,
    sensor: SensorSpec | None = None,
    fetch: FetchSpec | None = None,
    model_config: dict[str, Any] | None = None,
    modality: str | None = None,
    auxiliary_modalities: Sequence[str] = (),
    output: OutputPooled | OutputGrid = OutputSpec.pooled(),  # noqa: B008 - frozen
    backend: Backend = "auto",
    device: Device = "auto",
    input_prep: InputPrepSpec | str = "resize",
    **model_kwargs: Any,
) -> Embedding:
    """The embedding of a place in a time window.

    Args:
        model: Id or alias; see `list_models`.
        spatial: The place; also a GeoJSON polygon, multipolygon or feature as a dictionary.
        temporal: The time window, half-open.
        sensor: Replaces the model's default sensor.
        fetch: Changes single settings of the default sensor.
        model_config: Options of the model.
        modality: Which imagery the model reads.
        auxiliary_modalities: Imagery of the same place and window that it reads beside it.
        output: A vector ``(D,)`` or a grid ``(D, H, W)``.
        backend: Where pixels come from.
        device: Where the forward pass runs.
        input_prep: How a large place is brought to the model.
        **model_kwargs: Options of the model, as in `model_config`.

    Returns:
        float32 data and metadata.

    Raises:
        GeoBentoError: The request cannot be answered; its subclass and message say why.
    """
    (answer,) = get_embeddings_batch(
        model,
        spatials=[spatial],
        temporal=temporal,
        sensor=sensor,
        fetch=fetch,
        model_config=model_config,
        modality=modality,
        auxiliary_modalities=auxiliary_modalities,
        output=output,
        backend=backend,
        device=device,
        input_prep=input_prep,
        on_error="raise",
        **model_kwargs,
    )
    return answer


@overload
def get_embeddings_batch(
    model: str,
    *,
    spatials: Sequence[Region | dict[str, Any]],
    temporal: TemporalRange | TemporalYear | None = None,
    sensor: SensorSpec | None = None,
    fetch: FetchSpec | None = None,
    model_config: dict[str, Any] | None = None,
    modality: str | None = None,
    auxiliary_modalities: Sequence[str] = (),
    output: OutputPooled | OutputGrid = OutputSpec.pooled(),  # noqa: B008 - frozen
    backend: Backend = "auto",
    device: Device = "auto",
    input_prep: InputPrepSpec | str = "resize",
    on_error: Literal["raise"] = "raise",
    **model_kwargs: Any,
) -> list[Embedding]: ...


@overload
def get_embeddings_batch(
    model: str,
    *,
    spatials: Sequence[Region | dict[str, Any]],
    on_error: Literal["collect"],
    **how: Any,
) -> list[Embedding | GeoBentoError]: ...


def get_embeddings_batch(
    model: str,
    *,
    spatials: Sequence[Region | dict[str, Any]],
    temporal: TemporalRange | TemporalYear | None = None,
    sensor: SensorSpec | None = None,
    fetch: FetchSpec | None = None,
    model_config: dict[str, Any] | None = None,
    modality: str | None = None,
    auxiliary_modalities: Sequence[str] = (),
    output: OutputPooled | OutputGrid = OutputSpec.pooled(),  # noqa: B008 - frozen
    backend: Backend = "auto",
    device: Device = "auto",
    input_prep: InputPrepSpec | str = "resize",
    on_error: Literal["raise", "collect"] = "raise",
    **model_kwargs: Any,
) -> list[Embedding] | list[Embedding | GeoBentoError]:
    """The embeddings of several places, in their order; arguments as in `get_embedding`.

    Args:
        model: Id or alias; see `list_models`.
        spatials: The places.
        temporal: The time window of all of them.
        sensor: Replaces the model's default sensor.
        fetch: Changes single settings of the default sensor.
        model_config: Options of the model.
        modality: Which imagery the model reads.
        auxiliary_modalities: Imagery of the same place and window that it reads beside it.
        output: A vector ``(D,)`` or a grid ``(D, H, W)`` per place.
        backend: Where pixels come from.
        device: Where the forward pass runs.
        input_prep: How a large place is brought to the model.
        on_error: `raise` the first failure of a place, or `collect` failures in its position.
        **model_kwargs: Options of the model, as in `model_config`.

    Raises:
        GeoBentoError: The request; and, unless collected, the first of the places that failed,
            whose `field` names it.
    """
    request = _geo_request(locals())
    if on_error == "raise":
        return _all_or_raise(get_engine().geo_embedding(request), "spatials")
    if on_error != "collect":
        raise InvalidRequest(
            f"on_error is {on_error!r}; accepted: 'raise', 'collect'", field="on_error"
        )
    try:
        return get_engine().geo_embedding(request)
    except GeoBentoError as error:
        if len(spatials) != 1 or isinstance(error, InvalidRequest):
            raise
        alone: list[Embedding | GeoBentoError] = [error]
        return alone


def embed_pixels(
    model: str,
    pixels: NDArray[Any] | str | Path,
    *,
    bands: Sequence[str] | None = None,
    modality: str | None = None,
    units: str | None = None,
    crs: Any = None,
    transform: Iterable[float] | None = None,
    times: Sequence[str | date | datetime] | None = None,
    nodata: float | None = None,
    output: OutputPooled | OutputGrid = OutputSpec.pooled(),  # noqa: B008 - frozen
    model_config: dict[str, Any] | None = None,
    device: Device = "auto",
    input_prep: InputPrepSpec | str = "resize",
    **model_kwargs: Any,
) -> Embedding:
    """The embedding of pixels of your own.

    What is given here goes before what a file says. Nothing that the model needs is invented.

    Args:
        model: Id or alias; see `list_models`.
        pixels: Values ``(C, H, W)`` or, over time, ``(T, C, H, W)``, rows from north to south; or
            the path of a GeoTIFF or an ``.npy`` file.
        bands: Names of the C bands, in their order; those that the model reads are picked. None:
            the band descriptions of the GeoTIFF.
        modality: Which imagery the pixels are; None: the card's default.
        units: Units of the values: those of the card, or ``reflectance`` (0 to 1) for Sentinel-2.
            None: what the GeoTIFF says.
        crs: Reference system of `transform`, such as ``EPSG:32736``, or an object that is written
            like this. None: that of the GeoTIFF.
        transform: ``(a, b, c, d, e, f)``: ``x = a col + b row + c``, ``y = d col + e row + f``,
            or an `affine.Affine`. None: that of the GeoTIFF. Without `crs` and `transform` a grid
            of vectors lies nowhere: ``meta.grid`` is None.
        times: When the pixels are from: one time per frame; of one image, those of its scenes.
        nodata: Value that means no data; NaN always does. None: that of the GeoTIFF.
        output: A vector ``(D,)`` or a grid ``(D, H, W)``.
        model_config: Options of the model.
        device: Where the forward pass runs.
        input_prep: How pixels larger than the model's input are brought to it.
        **model_kwargs: Options of the model, as in `model_config`.

    Raises:
        GeoBentoError: The request cannot be answered; its subclass and message say why.
    """
    request = validated(
        PixelEmbeddingRequest,
        {
            "model": model,
            "pixels": _pixels_to_file(pixels),
            "bands": bands,
            "modality": modality,
            "units": units,
            "crs": None if crs is None else str(crs),
            "transform": _affine_coefficients(transform),
            "times": tuple(times or ()),
            "nodata": nodata,
            "output": output,
            "model_config": {**(model_config or {}), **model_kwargs},
            "device": device,
            "input_prep": input_prep,
        },
    )
    (answer,) = _all_or_raise(get_engine().pixel_embedding(request), "pixels")
    return answer


def plan_embedding(
    model: str,
    *,
    spatial: Region | dict[str, Any],
    temporal: TemporalRange | TemporalYear | None = None,
    sensor: SensorSpec | None = None,
    fetch: FetchSpec | None = None,
    model_config: dict[str, Any] | None = None,
    modality: str | None = None,
    auxiliary_modalities: Sequence[str] = (),
    output: OutputPooled | OutputGrid = OutputSpec.pooled(),  # noqa: B008 - frozen
    backend: Backend = "auto",
    device: Device = "auto",
    input_prep: InputPrepSpec | str = "resize",
    **model_kwargs: Any,
) -> EmbeddingPlan:
    """What `get_embedding` would do with the same arguments; no pixel is fetched.

    Returns:
        Pixels, tiles, scenes, requests and bytes of the place, and which models fit the sensor.

    Raises:
        GeoBentoError: `get_embedding` would fail. Where the sensor is at fault, `detail` says
            which models it fits.
    """
    request = _geo_request(locals())
    return get_engine().plan_embedding(request)


def inspect_patch(
    model: str | None = None,
    *,
    spatial: Region | dict[str, Any],
    temporal: TemporalRange | TemporalYear | None = None,
    sensor: SensorSpec | None = None,
    modality: str | None = None,
    fetch: FetchSpec | None = None,
    backend: Backend = "auto",
) -> Inspection:
    """What the pixels of a place are like: statistics, histograms, a picture, what is odd.

    Args:
        model: Id or alias of a model whose default sensor is fetched; or else `sensor`.
        spatial: The place; of a polygon its bounding box.
        temporal: The time window, half-open.
        sensor: What to fetch.
        modality: With `model`: which of its imagery.
        fetch: With `model`: changes single settings of its default sensor.
        backend: Where pixels come from.

    Raises:
        GeoBentoError: The pixels cannot be had; its subclass and message say why.
    """
    request = validated(
        InspectRequest,
        {
            "model": model,
            "spatial": spatial,
            "temporal": temporal,
            "sensor": sensor,
            "modality": modality,
            "fetch": fetch,
            "backend": backend,
        },
    )
    return get_engine().inspect_patch(request)


def get_image_embeddings(
    model: str,
    images: Sequence[bytes | str | Path],
    *,
    normalize: bool | None = None,
    config: dict[str, Any] | None = None,
) -> list[Embedding]:
    """The embeddings of pictures, in their order.

    Args:
        model: Id or alias; see `list_models`.
        images: Encoded pictures as bytes, or paths of files.
        normalize: Scale to unit length; None: as the card says.
        config: Options of the model.

    Raises:
        GeoBentoError: The request, or the first of the pictures that failed; `field` names it.
    """
    request = validated(
        ImageEmbeddingRequest,
        {
            "model": model,
            "images": _read_images(images),
            "normalize": normalize,
            "config": config or {},
        },
    )
    return _all_or_raise(get_engine().image_embedding(request), "images")


def get_text_embeddings(
    model: str, texts: Sequence[str], *, normalize: bool | None = None
) -> list[Embedding]:
    """The embeddings of texts, in their order and in the space of the model's pictures.

    Args:
        model: Id or alias of a model that reads texts; see `list_models`.
        texts: What to embed.
        normalize: Scale to unit length; None: as the card says.

    Raises:
        GeoBentoError: The request, or the first of the texts that failed; `field` names it.
    """
    request = validated(
        TextEmbeddingRequest, {"model": model, "texts": list(texts), "normalize": normalize}
    )
    return _all_or_raise(get_engine().text_embedding(request), "texts")


def classify_images(
    model: str,
    images: Sequence[bytes | str | Path],
    classes: Sequence[str],
    *,
    template: str = "{}",
    config: dict[str, Any] | None = None,
) -> list[Classification]:
    """Which of the given classes every picture shows, without training on them (zero shot).

    Args:
        model: Id or alias of a model that reads pictures and texts; see `list_models`.
        images: Encoded pictures as bytes, or paths of files.
        classes: Names of the classes.
        template: Sentence that every class is put into, at ``{}``.
        config: Options of the model.

    Raises:
        GeoBentoError: The request, or the first of the pictures that failed; `field` names it.
    """
    request = validated(
        ZeroShotRequest,
        {
            "model": model,
            "images": _read_images(images),
            "classes": list(classes),
            "template": template,
            "config": config or {},
        },
    )
    return _all_or_raise(get_engine().zero_shot_classification(request), "images")


def list_models() -> list[ServedModel]:
    """The models that can be asked for, with their cards."""
    return get_engine().list_models()


def describe_model(model: str) -> ServedModel:
    """What there is to know about a model: its card and which weights are served.

    Args:
        model: Id or alias.

    Raises:
        ModelNotFound: It is not served; the message says how to import it.
    """
    return get_engine().describe_model(model)


def _geo_request(arguments: dict[str, Any]) -> GeoEmbeddingRequest:
    """The request that a function's arguments say, which are named like its fields."""
    given = {**arguments, "auxiliary_modalities": list(arguments["auxiliary_modalities"])}
    given["model_config"] = {**(given["model_config"] or {}), **given.pop("model_kwargs")}
    given.pop("on_error", None)
    if "spatials" in given:
        given["spatials"] = list(given["spatials"])
    return validated(GeoEmbeddingRequest, given)


def _read_images(images: Sequence[bytes | str | Path]) -> list[bytes]:
    return [image if isinstance(image, bytes) else Path(image).read_bytes() for image in images]


def _pixels_to_file(pixels: NDArray[Any] | str | Path) -> bytes:
    """What goes with a request: the file, or the array as one."""
    if isinstance(pixels, str | Path):
        try:
            return Path(pixels).read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a path"
            raise InvalidRequest(
                f"the file cannot be read: {why}; accepted: a path on this machine, or an array",
                field="pixels",
            ) from None
    stream = io.BytesIO()
    try:
        np.save(stream, np.asarray(pixels), allow_pickle=False)
    except ValueError:
        raise InvalidRequest(
            "the pixels are no array of numbers; accepted: (C, H, W) and (T, C, H, W)",
            field="pixels",
        ) from None
    return stream.getvalue()


def _affine_coefficients(transform: Iterable[float] | None) -> tuple[float, ...] | None:
    """A transform without the third row of its matrix, which is always the same."""
    if transform is None:
        return None
    numbers = tuple(transform)
    return numbers[:6] if numbers[6:] == (0, 0, 1) else numbers


def _all_or_raise(answers: list[Result | GeoBentoError], field: str) -> list[Result]:
    embeddings = []
    for position, answer in enumerate(answers):
        if isinstance(answer, GeoBentoError):
            answer.field = answer.field or f"{field}.{position}"
            raise answer
        embeddings.append(answer)
    return embeddings
