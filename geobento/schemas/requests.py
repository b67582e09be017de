"""Requests and answers as they go over the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from geobento.schemas.embedding import ClassificationMeta, EmbeddingMeta
from geobento.schemas.geometry import Crs
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


class _Request(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class ImageEmbeddingRequest(_Request):
    """Pictures in, one vector per picture out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "mosaiks", "images": [EXAMPLE_IMAGE], "encoding": "float"}]
        }
    )

    model: Annotated[str, Field(examples=["mosaiks"])]
    """Id or alias of a served model that reads pictures; see `GET /models`."""
    images: Annotated[list[ImagePayload], Field(min_length=1)]
    """Pictures (JPEG, PNG, WebP, TIFF, GIF, BMP), each as base64 or as a data URL; as
    multipart: one file field `images` per picture."""
    normalize: bool | None = None
    """Scale vectors to unit length; null: as the model's card says."""
    encoding: Encoding = "float"
    """`float`: JSON numbers. `base64`: little-endian float32, row by row."""
    config: dict[str, Any] = {}
    """Options of the model; its card has the schema."""


class TextEmbeddingRequest(_Request):
    """Texts in, one vector per text out, in the space of the model's pictures."""

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
    """Texts; what goes beyond the model's number of tokens is cut off, and `meta` says so."""
    normalize: bool | None = None
    """Scale vectors to unit length; null: as the model's card says."""
    encoding: Encoding = "float"
    """`float`: JSON numbers. `base64`: little-endian float32, row by row."""
    config: dict[str, Any] = {}
    """Options of the model; its card has the schema."""


class ZeroShotRequest(_Request):
    """Pictures and names of classes in, a probability per class for every picture out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "clip_vit_large_patch14",
                    "images": [EXAMPLE_IMAGE],
                    "classes": ["forest", "harbour"],
                    "template": "a satellite picture of a {}",
                }
            ]
        }
    )

    model: Annotated[str, Field(examples=["clip_vit_large_patch14"])]
    """Id or alias of a served model that reads pictures and texts; see `GET /models`."""
    images: Annotated[list[ImagePayload], Field(min_length=1)]
    """Pictures, as in `/image_embedding`."""
    classes: Annotated[list[str], Field(min_length=1)]
    """Names of the classes, in the order of the probabilities."""
    template: str = "{}"
    """Sentence that every class is put into, at `{}`."""
    config: dict[str, Any] = {}
    """Options of the model; its card has the schema."""

    @field_validator("template")
    @classmethod
    def _check_template(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("the template needs {} exactly once, where the class goes")
        return value

    @property
    def prompts(self) -> list[str]:
        """The classes inside the template."""
        return [self.template.replace("{}", name) for name in self.classes]


class GeoEmbeddingRequest(_Request):
    """A place (or several) and a time window in; a vector or a grid of vectors per place out."""

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
    """The place. Exactly one of `spatial` and `spatials` is given."""
    spatials: Annotated[list[Spatial], Field(min_length=1)] | None = None
    """Several places; the answer has one entry per place, in this order."""
    temporal: Temporal | None = None
    """The time window; may be left out only where the model's card has a default."""
    sensor: SensorSpec | None = None
    """Replaces the model's default sensor as a whole; not together with `fetch`."""
    fetch: FetchSpec | None = None
    """Changes single settings of the model's default sensor."""
    config: Annotated[dict[str, Any], Field(alias="model_config")] = {}
    """Options of the model; its card has the schema."""
    modality: str | None = None
    """Which imagery the model reads; null: the card's default."""
    auxiliary_modalities: list[str] = []
    """Further imagery of the same place and window that the model reads beside it; each with the
    card's sensor."""
    output: Output = OutputPooled()
    """One vector for the place, or a georeferenced grid of vectors."""
    backend: Backend = "auto"
    """Where pixels come from; `auto` takes what the service is configured with."""
    device: Device = "auto"
    """Where the forward pass runs; refused where the runner cannot honour it."""
    input_prep: InputPrep = InputPrepSpec()
    """How a place larger than the model's input is brought to it."""
    encoding: Encoding = "float"
    """`float`: JSON numbers. `base64`: little-endian float32, row by row."""

    @model_validator(mode="after")
    def _check_spatial(self) -> GeoEmbeddingRequest:
        if (self.spatial is None) == (self.spatials is None):
            raise ValueError(
                "exactly one of 'spatial' (one place) and 'spatials' (a list) is needed"
            )
        return self

    @property
    def regions(self) -> list[Region]:
        """The places asked for, one or several."""
        given = [self.spatial] if self.spatial is not None else list(self.spatials or [])
        return cast("list[Region]", given)


class PixelEmbeddingRequest(_Request):
    """Pixels of your own in (a file, as multipart); a vector or a grid of vectors out."""

    model: Annotated[str, Field(examples=["mosaiks"])]
    """Id or alias of a served model that reads satellite imagery; see `GET /models`."""
    pixels: Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]
    """A GeoTIFF, or an `.npy` file of shape (C, H, W) or, over time, (T, C, H, W)."""
    bands: tuple[str, ...] | None = None
    """Names of the C bands, in their order; more than the model reads may be there. Null: the
    band descriptions of the GeoTIFF."""
    units: str | None = None
    """Units of the values: those of the model's card such as `digital numbers`, or for the
    reflectance of Sentinel-2 `reflectance` (0 to 1). Null: what the GeoTIFF says."""
    crs: Crs | None = None
    """Reference system, x before y. Null: that of the GeoTIFF."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """(a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f; outer corners, rows from
    north to south. Null: that of the GeoTIFF."""
    times: tuple[Instant, ...] = ()
    """When the pixels are from, UTC: one time per frame of (T, C, H, W); of one image, those of
    all scenes that it is made from."""
    nodata: Annotated[float, Field(allow_inf_nan=True)] | None = None
    """Value that means no data; NaN always does. Null: that of the GeoTIFF."""
    modality: str | None = None
    """Which imagery the pixels are; null: the card's default."""
    output: Output = OutputPooled()
    """One vector, or a grid of vectors; without `crs` and `transform` it lies nowhere."""
    config: Annotated[dict[str, Any], Field(alias="model_config")] = {}
    """Options of the model; its card has the schema."""
    device: Device = "auto"
    """Where the forward pass runs; refused where the runner cannot honour it."""
    input_prep: InputPrep = InputPrepSpec()
    """How pixels larger than the model's input are brought to it."""
    encoding: Encoding = "float"
    """`float`: JSON numbers. `base64`: little-endian float32, row by row."""


class InspectRequest(_Request):
    """A place, a time window and a sensor (or the model it is for) in; its pixels described."""

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
    """The place; of a polygon its bounding box."""
    temporal: Temporal | None = None
    """The time window; may be left out where the model's card has a default, and for imagery that
    is the same at all times."""
    sensor: SensorSpec | None = None
    """What to fetch. Exactly one of `sensor` and `model` is given."""
    model: str | None = None
    """Id or alias of a served model whose default sensor is fetched; see `GET /models`."""
    modality: str | None = None
    """With `model`: which of its imagery; null: the card's default."""
    fetch: FetchSpec | None = None
    """With `model`: changes single settings of its default sensor."""
    backend: Backend = "auto"
    """Where pixels come from; `auto` takes what the service is configured with."""

    @model_validator(mode="after")
    def _check_sensor(self) -> InspectRequest:
        if (self.sensor is None) == (self.model is None):
            raise ValueError("exactly one of 'sensor' and 'model' is needed")
        if self.sensor is not None:
            for field in ("modality", "fetch"):
                if getattr(self, field) is not None:
                    raise field_error(field, "this goes with 'model'; a sensor says all by itself")
            if self.sensor.check_save_dir is not None:
                raise field_error(
                    "sensor.check_save_dir", "the answer holds the picture; accepted: null"
                )
        return self


class ErrorDetail(_Request):
    """What went wrong."""

    type: Annotated[str, Field(examples=["invalid_request"])]
    """Word for programs."""
    message: str
    """Sentence for people: what was wrong, what is accepted."""
    field: str | None
    """Dotted path of the request field at fault."""
    detail: Any
    """Machine-readable extras."""


class ErrorBody(_Request):
    """Body of every failing answer."""

    error: ErrorDetail


class EmbeddingItem(_Request):
    """One embedding of the answer."""

    data: list[float] | list[list[list[float | None]]] | str
    """The array: nested lists, or base64 of little-endian float32. Grid cells that a finished
    product has no data for hold null in lists, NaN in base64."""
    shape: list[int]
    """(D,) or (D, H, W)."""
    dtype: Literal["float32"]
    """Number format of `data`."""
    meta: EmbeddingMeta
    """How it came about."""


class EmbeddingResponse(_Request):
    """One entry per item, in the order of the request; an entry is an embedding or an error."""

    model: str
    """Id of the model that answered."""
    dim: int
    """Length D of the vectors."""
    embeddings: list[EmbeddingItem | ErrorBody]
    """One entry per picture or place."""


class ClassificationItem(_Request):
    """The classification of one picture."""

    probabilities: list[float]
    """One per class, in the order of `classes`; they sum to 1."""
    meta: ClassificationMeta
    """How they came about."""


class ZeroShotResponse(_Request):
    """One entry per picture, in the order of the request; an entry is a result or an error."""

    model: str
    """Id of the model that answered."""
    classes: list[str]
    """The classes of the request."""
    results: list[ClassificationItem | ErrorBody]
    """One entry per picture."""
