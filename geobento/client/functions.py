"""Python functions for regions: the same request in-process or against a server."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

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
    Region,
    SensorSpec,
    TemporalRange,
    TemporalYear,
)
from geobento.schemas.validation import validate


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


class PixelOptions(TypedDict, total=False):
    """Options of `embed_pixels`: fields of `PixelEmbeddingRequest` with the same names."""

    bands: Sequence[str] | None
    modality: str | None
    units: str | None
    crs: Any
    transform: Iterable[float] | None
    times: Sequence[str | date | datetime] | None
    nodata: float | None
    output: OutputPooled | OutputGrid
    model_config: dict[str, Any] | None
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
            `input_prep`: `resize` or `tile` for large regions. Every other keyword is an
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
    model: str, pixels: NDArray[Any] | str | Path, **options: Unpack[PixelOptions]
) -> Embedding:
    """Embed user-supplied pixels.

    Arguments have priority over what a file says. Values that the model needs are never guessed.

    Args:
        model: Id or alias; see `list_models`.
        pixels: Values ``(C, H, W)`` or, for a time series, ``(T, C, H, W)``, rows from north to
            south; or the path of a GeoTIFF or an ``.npy`` file.
        **options: `bands`: names of the C bands, in order; the model picks those that it reads.
            `modality`: modality of the pixels. `units`: units of the values: those of the card, or
            ``reflectance`` (0 to 1) for Sentinel-2. `crs`: CRS of `transform`, as text or as an
            object of pyproj or rasterio. `transform`: ``(a, b, c, d, e, f)`` or an
            `affine.Affine`: ``x = a col + b row + c``, ``y = d col + e row + f``; without `crs`
            and `transform` a grid has no georeference. `times`: acquisition times, one per frame,
            or those of the scenes of a composite. `nodata`: value of pixels without data; NaN
            always is. `output`: a vector ``(D,)`` (default) or a grid ``(D, H, W)``.
            `model_config`: options of the model. `device`: device of the forward pass.
            `input_prep`: `resize` or `tile` for pixels larger than the model's input. The default
            of `bands`, `units`, `crs`, `transform` and `nodata` is what a GeoTIFF says. Every other
            keyword is an option of the model, as in `model_config`.

    Returns:
        float32 data and metadata.

    Raises:
        GeoBentoError: The request fails; the subclass and the message say why.
    """
    fields: dict[str, Any] = _request_fields(options, PixelOptions)
    if "crs" in fields:
        fields["crs"] = str(fields["crs"])
    if "transform" in fields:
        fields["transform"] = _affine_coefficients(fields["transform"])
    fields["times"] = tuple(fields.get("times", ()))
    request = validate(
        PixelEmbeddingRequest, {"model": model, "pixels": _pixels_to_file(pixels), **fields}
    )
    (embedding,) = raise_first_error(
        get_engine().run(operations.PIXEL_EMBEDDING, request), "pixels"
    )
    return embedding


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
    """Fetch and describe the pixels of a region: statistics, histograms, quicklook, warnings.

    Args:
        model: Id or alias of a model; its default sensor is fetched. Not with `sensor`.
        spatial: The region; for a polygon its bounding box.
        temporal: Time window, half-open.
        sensor: The sensor.
        modality: With `model`: modality of its imagery.
        fetch: With `model`: changes single settings of its default sensor.
        backend: Source of the pixels.

    Raises:
        GeoBentoError: The request fails; the subclass and the message say why.
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


def _geo_request(model: str, options: Mapping[str, Any], **region: Any) -> GeoEmbeddingRequest:
    """The request of a function's arguments."""
    fields = _request_fields(options, GeoOptions)
    if "auxiliary_modalities" in fields:
        fields["auxiliary_modalities"] = list(fields["auxiliary_modalities"])
    return validate(GeoEmbeddingRequest, {"model": model, **region, **fields})


def _request_fields(options: Mapping[str, Any], known: type) -> dict[str, Any]:
    """Fields of a request. Unknown options are options of the model.

    Args:
        options: Keyword arguments of a function.
        known: TypedDict of the options that are fields.
    """
    names = known.__annotations__
    fields = {name: value for name, value in options.items() if name in names and value is not None}
    model_options = {name: value for name, value in options.items() if name not in names}
    fields["model_config"] = {**fields.get("model_config", {}), **model_options}
    return fields


def _pixels_to_file(pixels: NDArray[Any] | str | Path) -> bytes:
    """The content of the file, or the array as an ``.npy`` file."""
    if isinstance(pixels, str | Path):
        try:
            return Path(pixels).read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            raise InvalidRequest(
                f"the file cannot be read: {reason}; accepted: a path on this machine, or an array",
                field="pixels",
            ) from None
    stream = io.BytesIO()
    try:
        np.save(stream, np.asarray(pixels), allow_pickle=False)
    except ValueError:
        raise InvalidRequest(
            "the pixels are not an array of numbers; accepted: (C, H, W) and (T, C, H, W)",
            field="pixels",
        ) from None
    return stream.getvalue()


def _affine_coefficients(transform: Iterable[float]) -> tuple[float, ...]:
    """A transform without the third row of its matrix, which is constant."""
    numbers = tuple(transform)
    return numbers[:6] if numbers[6:] == (0, 0, 1) else numbers
