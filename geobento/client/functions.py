"""Python functions for regions: the same request in-process or against a server."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from geobento.client import operations
from geobento.client.engine import get_engine, raise_first_error
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, InvalidRequest
from geobento.schemas.plan import EmbeddingPlan, Inspection
from geobento.schemas.requests import GeoEmbeddingRequest, InspectRequest, PixelEmbeddingRequest
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
from geobento.schemas.validation import validate

Result = TypeVar("Result")


class GeoOptions(TypedDict, total=False):
    """Options that `get_embedding`, `get_embeddings_batch` and `plan_embedding` share.

    Each is the field of `GeoEmbeddingRequest` with the same name.
    """

    temporal: TemporalRange | TemporalYear | None
    sensor: SensorSpec | None
    fetch: FetchSpec | None
    model_config: dict[str, Any] | None
    modality: str | None
    auxiliary_modalities: Sequence[str]
    output: OutputPooled | OutputGrid
    backend: Backend
    device: Device
    input_prep: InputPrepSpec | str


def get_embedding(
    model: str, *, spatial: Region | dict[str, Any], **options: Unpack[GeoOptions]
) -> Embedding:
    """Embed a region in a time window.

    Args:
        model: Id or alias; see `list_models`.
        spatial: The region; also a GeoJSON polygon, multipolygon or feature as a dictionary.
        **options: `temporal`: time window, half-open. `sensor`: replaces the default sensor of the
            model. `fetch`: changes single settings of the default sensor. `model_config`: options
            of the model. `modality`: imagery that the model reads. `auxiliary_modalities`: further
            imagery of the same region and window. `output`: a vector ``(D,)`` (default) or a grid
            ``(D, H, W)``. `backend`: source of the pixels. `device`: device of the forward pass.
            `input_prep`: how a large region is brought to the model. Every other keyword is an
            option of the model, as in `model_config`.

    Returns:
        float32 data and metadata.

    Raises:
        GeoBentoError: The request fails; the subclass and the message say why.
    """
    (embedding,) = get_embeddings_batch(model, spatials=[spatial], **options)
    return embedding


@overload
def get_embeddings_batch(
    model: str,
    *,
    spatials: Sequence[Region | dict[str, Any]],
    on_error: Literal["raise"] = "raise",
    **options: Unpack[GeoOptions],
) -> list[Embedding]: ...


@overload
def get_embeddings_batch(
    model: str,
    *,
    spatials: Sequence[Region | dict[str, Any]],
    on_error: Literal["collect"],
    **options: Unpack[GeoOptions],
) -> list[Embedding | GeoBentoError]: ...


def get_embeddings_batch(
    model: str,
    *,
    spatials: Sequence[Region | dict[str, Any]],
    on_error: Literal["raise", "collect"] = "raise",
    **options: Unpack[GeoOptions],
) -> list[Embedding] | list[Embedding | GeoBentoError]:
    """Embed several regions.

    Args:
        model: Id or alias; see `list_models`.
        spatials: The regions.
        on_error: `raise` the first failure of a region, or `collect` failures in their positions.
        **options: As in `get_embedding`.

    Returns:
        One embedding per region, in order.

    Raises:
        GeoBentoError: The request fails; or, unless collected, the first failure of a region,
            whose `field` names it.
    """
    request = _geo_request(model, options, spatials=list(spatials))
    if on_error == "raise":
        return raise_first_error(get_engine().run(operations.GEO_EMBEDDING, request), "spatials")
    if on_error != "collect":
        raise InvalidRequest(
            f"on_error is {on_error!r}; accepted: 'raise', 'collect'", field="on_error"
        )
    try:
        return get_engine().run(operations.GEO_EMBEDDING, request)
    except GeoBentoError as error:
        if len(spatials) != 1 or isinstance(error, InvalidRequest):
            raise
        single: list[Embedding | GeoBentoError] = [error]
        return single


def plan_embedding(
    model: str, *, spatial: Region | dict[str, Any], **options: Unpack[GeoOptions]
) -> EmbeddingPlan:
    """Say what `get_embedding` would do with the same arguments. No pixel is fetched.

    Args:
        model: Id or alias; see `list_models`.
        spatial: The region.
        **options: As in `get_embedding`.

    Returns:
        Pixels, tiles, scenes, requests and bytes of the region, and which models fit the sensor.

    Raises:
        GeoBentoError: `get_embedding` would fail. If the sensor is at fault, `detail` says which
            models it fits.
    """
    request = _geo_request(model, options, spatial=spatial)
    return get_engine().run(operations.PLAN_EMBEDDING, request)


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
    request = validate(
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
    (answer,) = raise_first_error(get_engine().run(operations.PIXEL_EMBEDDING, request), "pixels")
    return answer


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
    request = validate(
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
    return get_engine().run(operations.INSPECT_PATCH, request)


def _geo_request(model: str, options: Mapping[str, Any], **where: Any) -> GeoEmbeddingRequest:
    """The request of a function's arguments. Unknown options are options of the model."""
    known = GeoOptions.__annotations__
    fields = {name: value for name, value in options.items() if name in known and value is not None}
    model_options = {name: value for name, value in options.items() if name not in known}
    if "auxiliary_modalities" in fields:
        fields["auxiliary_modalities"] = list(fields["auxiliary_modalities"])
    fields["model_config"] = {**fields.get("model_config", {}), **model_options}
    return validate(GeoEmbeddingRequest, {"model": model, **where, **fields})


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
