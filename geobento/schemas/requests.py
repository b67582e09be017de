"""Requests: the bodies of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from geobento.schemas.geometry import Crs
from geobento.schemas.records import RequestRecord
from geobento.schemas.specs import (
    Backend,
    Device,
    FetchSpec,
    InputPrep,
    InputPrepSpec,
    Instant,
    Output,
    OutputPooled,
    Region,
    SensorSpec,
    Spatial,
    Temporal,
)
from geobento.schemas.validation import field_error

Encoding = Literal["float", "base64"]

ImagePayload = Annotated[
    str | bytes,
    WithJsonSchema({"type": "string", "description": "Base64, or a `data:` URL with base64."}),
]

EXAMPLE_IMAGE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAIUlEQVR42mO0qdBgwAaYGHAAnBIsciIL"
    "SNRh86iOSpYDAIyBA174yLIQAAAAAElFTkSuQmCC"
)


class ImageEmbeddingRequest(RequestRecord):
    """Images in, one vector per image out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "mosaiks", "images": [EXAMPLE_IMAGE], "encoding": "float"}]
        }
    )

    model: Annotated[str, Field(examples=["mosaiks"])]
    """Id or alias of a served model that reads images; see `GET /models`."""
    images: Annotated[list[ImagePayload], Field(min_length=1)]
    """Images (JPEG, PNG, WebP, TIFF, GIF, BMP), each as base64 or as a data URL. In
    multipart forms one file field `images` per image."""
    normalize: bool | None = None
    """Scale vectors to unit length; null: the default of the model's card."""
    encoding: Encoding = "float"
    """`float`: JSON numbers. `base64`: little-endian float32, row by row."""
    config: dict[str, Any] = {}
    """Options of the model; its card has the schema."""


class TextEmbeddingRequest(RequestRecord):
    """Texts in, one vector per text out, in the space of the model's images."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "clip_vit_large_patch14",
                    "texts": ["fields seen from above", "a harbour"],
                }
            ]
        }
    )

    model: Annotated[str, Field(examples=["clip_vit_large_patch14"])]
    """Id or alias of a served model that reads texts; see `GET /models`."""
    texts: Annotated[list[str], Field(min_length=1)]
    """Texts. Longer ones than the model reads are truncated, and `meta` says so."""
    normalize: bool | None = None
    """Scale vectors to unit length; null: the default of the model's card."""
    encoding: Encoding = "float"
    """`float`: JSON numbers. `base64`: little-endian float32, row by row."""
    config: dict[str, Any] = {}
    """Options of the model; its card has the schema."""


class ZeroShotRequest(RequestRecord):
    """Images and names of classes in, a probability per class for every image out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "clip_vit_large_patch14",
                    "images": [EXAMPLE_IMAGE],
                    "classes": ["forest", "harbour"],
                    "template": "a satellite image of a {}",
                }
            ]
        }
    )

    model: Annotated[str, Field(examples=["clip_vit_large_patch14"])]
    """Id or alias of a served model that reads images and texts; see `GET /models`."""
    images: Annotated[list[ImagePayload], Field(min_length=1)]
    """Images, as in `/image_embedding`."""
    classes: Annotated[list[str], Field(min_length=1)]
    """Names of the classes, in the order of the probabilities."""
    template: str = "{}"
    """Prompt for every class; `{}` stands for its name."""
    config: dict[str, Any] = {}
    """Options of the model; its card has the schema."""

    @field_validator("template")
    @classmethod
    def _check_template(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("the template needs {} exactly once, in place of the class")
        return value

    @property
    def prompts(self) -> list[str]:
        """The template with each class."""
        return [self.template.replace("{}", name) for name in self.classes]


class GeoEmbeddingRequest(RequestRecord):
    """A region (or several) and a time window in; a vector or a grid of vectors per region out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "mosaiks",
                    "spatial": {
                        "type": "PointBuffer",
                        "lon": 34.066,
                        "lat": -3.401,
                        "buffer_m": 1000,
                    },
                    "temporal": {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"},
                    "output": {"mode": "pooled", "pooling": "mean"},
                }
            ]
        }
    )

    model: Annotated[str, Field(examples=["mosaiks"])]
    """Id or alias of a served model that reads satellite imagery; see `GET /models`."""
    spatial: Spatial | None = None
    """The region. Exactly one of `spatial` and `spatials` is given."""
    spatials: Annotated[list[Spatial], Field(min_length=1)] | None = None
    """Several regions; the answer has one entry per region, in this order."""
    temporal: Temporal | None = None
    """The time window; required unless the model's card has a default."""
    sensor: SensorSpec | None = None
    """Replaces the model's default sensor as a whole; not together with `fetch`."""
    fetch: FetchSpec | None = None
    """Changes single settings of the model's default sensor."""
    config: Annotated[dict[str, Any], Field(alias="model_config")] = {}
    """Options of the model; its card has the schema."""
    modality: str | None = None
    """Modality: the kind of imagery that the model reads; null: the card's default."""
    auxiliary_modalities: list[str] = []
    """Further modalities of the same region and window for the model; each with the card's
    sensor."""
    output: Output = OutputPooled()
    """One vector for the region, or a georeferenced grid of vectors."""
    backend: Backend = "auto"
    """Source of the pixels; `auto`: the one that the service is configured with."""
    device: Device = "auto"
    """Device of the forward pass; an error if the service runs the model on another one."""
    input_prep: InputPrep = InputPrepSpec()
    """What happens to regions larger than the model's input: resized or cut into tiles."""
    encoding: Encoding = "float"
    """`float`: JSON numbers. `base64`: little-endian float32, row by row."""

    @model_validator(mode="after")
    def _check_spatial(self) -> GeoEmbeddingRequest:
        if (self.spatial is None) == (self.spatials is None):
            raise ValueError(
                "exactly one of 'spatial' (one region) and 'spatials' (a list) is needed"
            )
        return self

    @property
    def regions(self) -> list[Region]:
        """The regions, one or several."""
        regions = [self.spatial] if self.spatial is not None else list(self.spatials or [])
        return cast("list[Region]", regions)


class PixelEmbeddingRequest(RequestRecord):
    """User-supplied pixels in (a file, as multipart); a vector or a grid of vectors out."""

    model: Annotated[str, Field(examples=["mosaiks"])]
    """Id or alias of a served model that reads satellite imagery; see `GET /models`."""
    pixels: Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]
    """A GeoTIFF, or an `.npy` file of shape (C, H, W) or, for a time series, (T, C, H, W)."""
    bands: tuple[str, ...] | None = None
    """Names of the C bands, in their order; there may be more than the model reads. Null: the
    band descriptions of the GeoTIFF."""
    units: str | None = None
    """Units of the values: those of the model's card such as `digital numbers`, or for the
    reflectance of Sentinel-2 `reflectance` (0 to 1). Null: those of the GeoTIFF."""
    crs: Crs | None = None
    """Coordinate reference system, x before y. Null: that of the GeoTIFF."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """(a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f; outer corners, rows from
    north to south. Null: that of the GeoTIFF."""
    times: tuple[Instant, ...] = ()
    """Acquisition times, UTC: one per frame of (T, C, H, W); for one composite, those of all its
    scenes."""
    nodata: Annotated[float, Field(allow_inf_nan=True)] | None = None
    """Value of pixels without data; NaN always is. Null: that of the GeoTIFF."""
    modality: str | None = None
    """Modality of the pixels; null: the card's default."""
    output: Output = OutputPooled()
    """One vector, or a grid of vectors; without `crs` and `transform` it is not georeferenced."""
    config: Annotated[dict[str, Any], Field(alias="model_config")] = {}
    """Options of the model; its card has the schema."""
    device: Device = "auto"
    """Device of the forward pass; an error if the service runs the model on another one."""
    input_prep: InputPrep = InputPrepSpec()
    """What happens to pixels larger than the model's input: resized or cut into tiles."""
    encoding: Encoding = "float"
    """`float`: JSON numbers. `base64`: little-endian float32, row by row."""


class InspectRequest(RequestRecord):
    """A region, a time window and a sensor (or a model) in; a description of the pixels out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "mosaiks",
                    "spatial": {
                        "type": "PointBuffer",
                        "lon": 34.066,
                        "lat": -3.401,
                        "buffer_m": 1000,
                    },
                    "temporal": {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"},
                }
            ]
        }
    )

    spatial: Spatial
    """The region; for a polygon its bounding box."""
    temporal: Temporal | None = None
    """The time window; optional if the model's card has a default, and for imagery without time."""
    sensor: SensorSpec | None = None
    """The sensor. Exactly one of `sensor` and `model` is given."""
    model: str | None = None
    """Id or alias of a served model; its default sensor is fetched. See `GET /models`."""
    modality: str | None = None
    """With `model`: the modality; null: the card's default."""
    fetch: FetchSpec | None = None
    """With `model`: changes single settings of its default sensor."""
    backend: Backend = "auto"
    """Source of the pixels; `auto`: the one that the service is configured with."""

    @model_validator(mode="after")
    def _check_sensor(self) -> InspectRequest:
        if (self.sensor is None) == (self.model is None):
            raise ValueError("exactly one of 'sensor' and 'model' is needed")
        if self.sensor is not None:
            for field in ("modality", "fetch"):
                if getattr(self, field) is not None:
                    raise field_error(field, "only with 'model'; a sensor is complete by itself")
            if self.sensor.check_save_dir is not None:
                raise field_error(
                    "sensor.check_save_dir", "the response holds the image; accepted: null"
                )
        return self
