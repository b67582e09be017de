"""Plans user-supplied pixels: the sample that a source would have returned. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import Modality, ModelCard
from geobento.schemas.errors import ModelError, SpecError
from geobento.schemas.options import check_options
from geobento.schemas.requests import PixelEmbeddingRequest
from geobento.schemas.sample import PixelGrid, Provenance, Sample, Scene
from geobento.schemas.specs import OutputGrid
from imagery.collections import registry
from imagery.collections.schema import Collection
from imagery.geometry import WGS84, get_transformer, parse_crs
from imagery.grid import has_ground_meters
from imagery.quality.checks import unit_warnings
from inference.types import Pooling
from pipeline.inputs.raster_uploads import ALPHA_NAMES, RasterUpload
from pipeline.planning.geo import check_output, plan_tiling, pools_cells
from pipeline.planning.imagery import find_modality
from pipeline.planning.limits import Limits, check_min_size
from pipeline.planning.tiling import Tiling

NOTICE = "user-supplied pixels: bands, units, position and times are as stated with the pixels"
REFLECTANCE = "reflectance"
"""Name of the units of values from 0 to 1."""
REFLECTANCE_SCALING = (1e-4, 0.0)
"""Scaling of collections whose digital numbers are reflectance x 10000."""
_TIME_SERIES_OPTIONS: dict[str, Callable[[Any, int], bool]] = {
    "n_frames": lambda value, frames: value == frames,
    "temporal_mode": lambda value, frames: value == "auto" or (value == "multi") == (frames > 1),
}
"""Options of time series, and whether a value agrees with a number of frames."""


@dataclass(frozen=True)
class UserPixelsPlan:
    """The plan of a request with user-supplied pixels.

    Attributes:
        sample: The pixels as a source would have returned them.
        pooling: How the vector is pooled; None: the response is a grid.
        tiling: Tiles of the pixels; None: the model gets them whole.
        encode_pooling: Pooling by the encoder, per tile; None: a grid.
        warnings: Warnings about the selected bands.
    """

    sample: Sample
    pooling: Pooling | None
    tiling: Tiling | None
    encode_pooling: Pooling | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _BandSelection:
    """The bands that the model reads.

    Attributes:
        bands: Their names.
        positions: Their positions in the file.
        collection: Their collection; None where an option of the model describes the bands.
        factor: Factor from stored values to the units of the model.
    """

    bands: tuple[str, ...]
    positions: Sequence[int]
    collection: Collection | None
    factor: float


def plan_user_pixels(
    card: ModelCard,
    request: PixelEmbeddingRequest,
    file: RasterUpload,
    *,
    served_modalities: tuple[str, ...],
    limits: Limits,
) -> UserPixelsPlan:
    """Plan a request with user-supplied pixels.

    Fields of the request override what the file states.

    Args:
        card: The model's card.
        request: The request.
        file: Its pixels, decoded.
        served_modalities: Inputs that the served weights read.
        limits: Limits of the service.

    Raises:
        ModelError: The model does not support the request, or needs further metadata.
        SpecError: The request or the file is inconsistent.
        PayloadTooLarge: The tiles have too many pixels.
    """
    modality = find_modality(card, {"modality": request.modality}, served_modalities)
    check_options(card, request.config, "model_config")
    check_output(card, request.output)
    spec = card.modalities[modality]
    if file.alpha is not None and not _names_alpha_band(request, file):
        if request.bands is not None and len(request.bands) == file.pixels.shape[-3]:
            names = [name for band, name in enumerate(request.bands) if band != file.alpha]
            request = request.model_copy(update={"bands": tuple(names)})
        file = file.with_alpha_as_mask()
    pixels = file.pixels[0] if file.pixels.ndim == 4 and len(file.pixels) == 1 else file.pixels
    shape = (pixels.shape[-2], pixels.shape[-1])
    check_min_size(card, modality, shape, "pixels", "size of the pixels on the ground")
    _check_times(card, spec, request, pixels)
    grid = _stated_grid(request, file, shape)
    _check_pixel_size(card, grid)
    selection = _select_bands(card, spec, request, file)
    values, data_mask = _masked_values(pixels, selection, request, file)
    sample = Sample(
        np.where(data_mask, values, np.float32(spec.sensor.fill_value)),
        selection.bands,
        modality,
        valid=np.asarray(data_mask.all(axis=-3)),
        grid=grid,
        times=request.times,
        provenance=_provenance(request, file),
    )
    pooling = None if isinstance(request.output, OutputGrid) else request.output.pooling
    tiling = plan_tiling(card, modality, request.input_prep, shape, limits)
    encode_pooling = None if tiling is not None and pools_cells(card, pooling) else pooling
    warnings = (
        () if selection.collection is None else _unused_bands_warning(card, spec, selection.bands)
    )
    return UserPixelsPlan(sample, pooling, tiling, encode_pooling, warnings)


def _select_bands(
    card: ModelCard, spec: Modality, request: PixelEmbeddingRequest, file: RasterUpload
) -> _BandSelection:
    names = _band_names(request, file)
    if spec.band_options is not None and spec.band_options in request.config:
        return _BandSelection(names, range(len(names)), None, 1.0)
    collection = registry.get(spec.sensor.collection)
    bands = _model_bands(card, spec, names)
    positions = [names.index(band) for band in bands]
    scaling = [file.scaling[position] for position in positions] if file.scaling else []
    factor = _unit_factor(spec, collection, bands, request.units or file.units, scaling)
    return _BandSelection(bands, positions, collection, factor)


def _masked_values(
    pixels: NDArray[Any],
    selection: _BandSelection,
    request: PixelEmbeddingRequest,
    file: RasterUpload,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values in the units of the model, and where they are data; both (..., C, H, W)."""
    stored = pixels[..., selection.positions, :, :]
    values = stored.astype(np.float32) * np.float32(selection.factor)
    nodata = file.nodata if request.nodata is None else request.nodata
    data_mask = _data_mask(stored, nodata, file.mask)
    collection = selection.collection
    _check_values(values, data_mask, selection.bands, collection)
    if collection is not None and collection.positive_only:
        data_mask &= values > 0
    if not data_mask.all(axis=-3).any():
        raise SpecError("no pixel has data in all bands", field="pixels")
    return values, data_mask


def _provenance(request: PixelEmbeddingRequest, file: RasterUpload) -> Provenance:
    scenes = (Scene(f"times.{position}", time) for position, time in enumerate(request.times))
    return Provenance("user", file.file_type, tuple(scenes), NOTICE)


def _names_alpha_band(request: PixelEmbeddingRequest, file: RasterUpload) -> bool:
    """Whether the request names all bands, and the one that the file tags as alpha as data."""
    if file.alpha is None or request.bands is None:
        return False
    return (
        len(request.bands) == file.pixels.shape[-3]
        and request.bands[file.alpha].lower() not in ALPHA_NAMES
    )


def _band_names(request: PixelEmbeddingRequest, file: RasterUpload) -> tuple[str, ...]:
    """Names of the bands of the file, in order."""
    names, count = request.bands or file.bands, file.pixels.shape[-3]
    if names is None:
        raise SpecError(
            f"name the {count} bands in their order; only a GeoTIFF with a description of every "
            "band names them itself",
            field="bands",
        )
    if len(names) != count:
        raise SpecError(f"there are {count} bands but {len(names)} names", field="bands")
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"the band {duplicates[0]!r} is named more than once", field="bands")
    return names


def _model_bands(card: ModelCard, spec: Modality, names: tuple[str, ...]) -> tuple[str, ...]:
    """The bands of the model's sensor; or, if it accepts any bands, those of them in the file."""
    missing = [band for band in spec.sensor.bands if band not in names]
    if not missing:
        return spec.sensor.bands
    if available := tuple(band for band in spec.selectable_bands if band in names):
        return available
    raise ModelError(
        f"{card.id} reads the bands {', '.join(spec.sensor.bands)}; missing: {', '.join(missing)}",
        field="bands",
        detail={"missing": missing},
    )


def _unused_bands_warning(
    card: ModelCard, spec: Modality, bands: tuple[str, ...]
) -> tuple[str, ...]:
    """A warning where the model reads other bands than by default."""
    if bands == spec.sensor.bands:
        return ()
    return (
        f"{card.id} read {', '.join(bands)} alone; its default is {', '.join(spec.sensor.bands)}",
    )


def _check_times(
    card: ModelCard, spec: Modality, request: PixelEmbeddingRequest, pixels: NDArray[Any]
) -> None:
    frames, times = len(pixels) if pixels.ndim == 4 else 1, len(request.times)
    max_frames = 1 if spec.series is None else spec.series.max_frames
    if frames > max_frames:
        raise ModelError(
            f"{card.id} reads up to {max_frames} images of a region over time, got {frames}",
            field="pixels",
        )
    for name, agrees in _TIME_SERIES_OPTIONS.items():
        if name in request.config and not agrees(request.config[name], frames):
            raise ModelError(
                f"there are {frames} frames; {name} is for regions, leave it out",
                field=f"model_config.{name}",
            )
    if not times and "times" in card.required_metadata:
        raise ModelError(
            f"{card.id} reads the time of the pixels; give one time per frame such as "
            "'2023-06-11', or of one image those of its scenes",
            field="times",
        )
    if times and pixels.ndim == 4 and times != frames:
        raise SpecError(
            f"there are {frames} frames but {times} times; accepted: one per frame", field="times"
        )


def _stated_grid(
    request: PixelEmbeddingRequest, file: RasterUpload, shape: tuple[int, int]
) -> PixelGrid | None:
    """Grid of the pixels as the request or the file states it; None: neither does."""
    crs, transform = request.crs or file.crs, request.transform or file.transform
    if crs is None and transform is None:
        return None
    for name, value, other in (("crs", crs, "transform"), ("transform", transform, "crs")):
        if value is None:
            raise SpecError(f"{other} needs {name}; give both", field=name)
    assert crs is not None
    assert transform is not None
    if not np.isfinite(transform).all():
        raise SpecError("the transform has values that are not finite", field="transform")
    try:
        get_transformer(crs, WGS84)
        return PixelGrid(_crs_name(crs), transform, *shape)
    except SpecError as error:
        error.field = "crs"
        raise
    except ValueError as error:
        raise SpecError(
            f"{error}; bring the pixels to such a grid first", field="transform"
        ) from None


def _crs_name(crs: str) -> str:
    """Authority code of a reference system, or its definition if it has none."""
    authority = parse_crs(crs).to_authority(min_confidence=100)
    return crs if authority is None else ":".join(authority)


def _check_pixel_size(card: ModelCard, grid: PixelGrid | None) -> None:
    if "pixel_size" not in card.required_metadata:
        return
    if grid is None:
        raise ModelError(
            f"{card.id} reads the size of a pixel on the ground; give crs and transform",
            field="transform",
        )
    try:
        in_metres = has_ground_meters(grid)
    except SpecError as error:
        error.field = "transform"
        raise
    if not in_metres:
        raise ModelError(
            f"{card.id} reads the size of a pixel on the ground; accepted: a crs in metres on "
            f"the ground such as UTM, got {grid.crs[:80]}",
            field="crs",
        )


def _unit_factor(
    spec: Modality,
    collection: Collection,
    bands: tuple[str, ...],
    units: str | None,
    scaling: Sequence[tuple[float, float]],
) -> float:
    """Factor from stored values to the units of the model."""
    scalings = [collection.scaling.get(band, (1.0, 0.0)) for band in bands]
    stated = [spec.units, collection.units]
    words = [_unit_word(units) for units in stated]
    factors = dict.fromkeys([*words, *(units.lower() for units in stated)], 1.0)
    if set(scalings) == {REFLECTANCE_SCALING}:
        words.append(REFLECTANCE)
        factors[REFLECTANCE] = 1 / REFLECTANCE_SCALING[0]
    accepted = ", ".join(map(repr, dict.fromkeys(words)))
    if scaling:
        # With the scaling of the collection, stored values are its digital numbers.
        if scaling != scalings:
            raise SpecError(
                "the bands of the file have a scale or an offset; apply them and leave them out",
                field="pixels",
            )
        factors = dict.fromkeys(factors, 1.0)
        units = units or words[0]
    if units is None:
        raise SpecError(f"name the units of the values; accepted: {accepted}", field="units")
    factor = factors.get(units.strip().lower())
    if factor is None:
        raise SpecError(
            f"the units {units[:80]!r} are not read; accepted: {accepted}", field="units"
        )
    return factor


def _unit_word(units: str) -> str:
    """The unit alone, without the remark after it."""
    return re.split("[,;]", units)[0].strip().lower()


def _data_mask(
    stored: NDArray[Any], nodata: float | None, file_mask: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Where stored values are data: not NaN, not `nodata`, and not masked by the file."""
    is_data: NDArray[np.bool_] = ~np.isnan(stored)
    if nodata is not None:
        # In the dtype of the pixels: 0.1 as float32 differs from 0.1 as float64.
        is_data &= stored != (stored.dtype.type(nodata) if stored.dtype.kind == "f" else nodata)
    if file_mask is not None:
        is_data &= file_mask
    return is_data


def _check_values(
    values: NDArray[np.float32],
    data_mask: NDArray[np.bool_],
    bands: tuple[str, ...],
    collection: Collection | None,
) -> None:
    """Check that values are finite and, for a known collection, in the range of its units."""
    data = np.moveaxis(values, -3, 0)[:, data_mask.all(axis=-3)]
    if not np.isfinite(data).all():
        raise SpecError(
            "there are infinite values; accepted: numbers, and NaN for no data", field="pixels"
        )
    if collection is None or not data.size:
        return
    if problems := unit_warnings(bands, data, collection):
        raise SpecError(
            f"the values are not in these units, or normalised already (models do that "
            f"themselves): {problems[0]}"
            + (f" (and {len(problems) - 1} more)" if problems[1:] else ""),
            field="units",
            detail={"problems": problems},
        )
