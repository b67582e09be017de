"""Model cards: inputs, outputs, preprocessing, licence and weights of a model.

A card is data only. Reading one does not load torch.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from geobento.schemas.records import Record
from geobento.schemas.specs import SensorSpec, Temporal

_omit_if_empty = Field(exclude_if=lambda value: not value)
"""Leaves an empty field out of the JSON and the digest, so that new fields do not change them."""


class Variant(Record):
    """One size or version of a model."""

    dim: int
    """Length D of its vectors."""
    title: str
    """How it differs from the others, in one line."""
    aliases: tuple[str, ...] = ()
    """Aliases of the model that mean this variant only."""
    parameters: int = 0
    """Number of learned parameters."""
    repository: str | None = None
    """Repository on the Hugging Face hub that holds its weights."""
    revision: str = "main"
    """Commit or branch of the repository."""
    files: tuple[str, ...] = ("model.safetensors", "config.json")
    """Weights file and configuration file of the repository."""


class ImageInput(Record):
    """Preprocessing of images in `image_embedding`."""

    modality: str
    """Modality of images."""
    size: int | None = None
    """Side in pixels after `resize`; null: images keep their size."""
    resize: Literal["none", "squash", "shorter_side"] = "none"
    """`squash`: both sides to `size`, the aspect ratio is not kept. `shorter_side`: the shorter
    side to `size`, the other in proportion."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Kernel of the resize, antialiased."""
    resize_in: Literal["uint8", "float"] = "uint8"
    """Type of the resized values: `uint8` rounds, as Pillow does; `float` does not, as torch."""
    crop: int | None = None
    """Side in pixels of the square cut from the centre after the resize."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from values / 255, per channel."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divided by afterwards, per channel."""
    pooling: Literal["native", "mean"] = "mean"
    """How the vector is made: as in the reference implementation, or the mean of the grid."""
    min_side: int = 1
    """Smallest height and width accepted, pixels."""
    normalize: bool = False
    """Whether vectors have unit length by default."""


class TextInput(Record):
    """Preprocessing of texts: cleaning and tokenization."""

    modality: str = "text"
    """Modality of texts."""
    max_tokens: int
    """Maximum number of tokens, including begin and end; longer texts are truncated."""
    pad: int
    """Id of the padding token."""
    begin: int
    """Id of the begin-of-text token."""
    end: int
    """Id of the end-of-text token."""
    tokenizer_repository: str
    """Repository on the Hugging Face hub that holds `tokenizer.json`."""
    tokenizer_revision: str = "main"
    """Commit or branch of that repository."""
    normalize: bool = True
    """Whether vectors have unit length by default."""


class Normalization(Record):
    """Fixed scaling of raw values, per band: `(clip((x - offset) * scale) - mean) / std`."""

    offset: tuple[float, ...]
    """Subtracted first, raw units; one value per band."""
    scale: tuple[float, ...]
    """Multiplied second; one value per band."""
    clip: tuple[float, float] | None = None
    """Bounds of the scaled values."""
    mean: Annotated[tuple[float, ...], _omit_if_empty] = ()
    """Subtracted from the clipped values; one value per band, or none: 0."""
    std: Annotated[tuple[float, ...], _omit_if_empty] = ()
    """Divided by at last; one value per band, or none: 1."""


class TimeSeries(Record):
    """How a time window becomes a series of frames: equal parts, one composite each."""

    default_frames: int
    """Default number of frames; with `days_per_frame` the maximum of the default."""
    max_frames: int
    """Maximum number of frames in a request."""
    days_per_frame: int | None = None
    """By default one frame for this many days of the window; null: always `default_frames`."""
    align_frames: bool = False
    """Whether auxiliary modalities must have the same frames."""

    @property
    def options(self) -> dict[str, Any]:
        """JSON schemas of the options for time series."""
        return {
            "n_frames": {
                "type": "integer",
                "minimum": 1,
                "maximum": self.max_frames,
                "description": "Number of equal parts of the window, one composite each.",
            },
            "temporal_mode": {
                "type": "string",
                "enum": ["auto", "single", "multi"],
                "default": "auto",
                "description": "`single`: one composite of the whole window. `multi`: at least "
                "two.",
            },
        }


class Modality(Record):
    """One kind of satellite imagery that the model reads."""

    sensor: SensorSpec
    """Default sensor."""
    units: str
    """Units of the raw pixels."""
    normalization: Normalization
    """How raw pixels are scaled; one value per band of `selectable_bands`, or if that is empty, of
    the sensor."""
    selectable_bands: Annotated[tuple[str, ...], _omit_if_empty] = ()
    """Bands that a request's sensor may choose from, in any order; empty: exactly the bands of the
    default sensor, in its order."""
    band_options: Annotated[str | None, _omit_if_empty] = None
    """Option of the model that describes bands unknown to the card; with it a sensor may name any
    bands."""
    wavelengths_um: Annotated[dict[str, float], _omit_if_empty] = {}
    """Central wavelength by band, micrometres, for models that take it as an input."""
    size: int | None = None
    """Input side in pixels; null: any size."""
    tile: Annotated[int | None, _omit_if_empty] = None
    """Side of a tile in pixels, for tiled regions; null: `size`."""
    min_pixels: int = 1
    """Smallest height and width accepted, pixels."""
    max_pixels: Annotated[int | None, _omit_if_empty] = None
    """Maximum number of pixels of a region; null: the limit of the service."""
    normalize: Annotated[bool, _omit_if_empty] = False
    """Whether vectors of regions have unit length, as in the reference implementation."""
    series: Annotated[TimeSeries | None, _omit_if_empty] = None
    """Time series; absent: one composite of the window."""
    fixed_collection: Annotated[bool, _omit_if_empty] = False
    """Whether a request's sensor must have the same collection, because the model was trained on it
    alone. User-supplied pixels may come from anywhere."""
    margin_days: Annotated[int, _omit_if_empty] = 0
    """As an auxiliary modality: days by which the time window is extended on both sides."""
    auxiliary: Annotated[bool, _omit_if_empty] = False
    """Whether requests may name it in `auxiliary_modalities`."""

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands of the normalization."""
        return self.selectable_bands or self.sensor.bands


class WeightsSource(Record):
    """Where the weights come from."""

    source: str
    """Repository or file of the authors; `seeded`: random by design, from a seed; `none`: the model
    has no weights."""
    revision: str | None = None
    """Commit or version."""
    licence: str
    """Licence of the weights."""


_DIGEST_DEFAULTS = {"cloud_mask": "quality_band"}
"""Fields of sensors that the digest leaves out at these values. They were added after the first
models were saved, and must not change the digests of these."""


class ModelCard(Record):
    """What a user or an operator needs to know about a model."""

    id: str
    """Name in requests and in the model store."""
    aliases: tuple[str, ...] = ()
    """Other names that requests may use."""
    title: str
    """Display name."""
    kind: Literal["on_the_fly", "precomputed"]
    """`on_the_fly`: vectors are computed for the request. `precomputed`: they are read from a
    published dataset of embeddings."""
    paper: str
    """Citation with DOI or arXiv id."""
    summary: str
    """Architecture, training data and inputs, in two or three sentences."""
    licence: str
    """Licence of the weights."""
    variants: dict[str, Variant]
    """Sizes or versions."""
    default_variant: str
    """The variant that is imported unless another is named."""
    image: ImageInput | None = None
    """Images; null: no `image_embedding`."""
    image_alternatives: dict[str, ImageInput] = {}
    """Other preprocessings of images, chosen by `config.preprocessing`."""
    text: TextInput | None = None
    """Texts; null: no `text_embedding`."""
    modalities: dict[str, Modality] = {}
    """Satellite imagery; empty: no `geo_embedding`."""
    default_modality: str | None = None
    """Modality of a request that names none."""
    default_temporal: Annotated[Temporal | None, Field(exclude_if=lambda v: v is None)] = None
    """Time window of a request that names none; absent: a window is required."""
    pooling: str
    """How the vector of a region is made, in words."""
    feature: Literal["mean", "own"] = "own"
    """`mean`: the vector is the mean of the grid, and polygons can weight its cells. `own`: the
    network makes the vector from the whole input."""
    class_token: Annotated[bool, _omit_if_empty] = False
    """Whether the network has a class token, for `pooling: cls`."""
    outputs: tuple[Literal["pooled", "grid"], ...] = ("pooled", "grid")
    """Supported outputs."""
    required_metadata: tuple[Literal["times", "pixel_size"], ...] = ()
    """Metadata that the model takes as inputs, so that user-supplied pixels need it: acquisition
    times, size of a pixel on the ground."""
    weights: WeightsSource
    """Where the weights come from."""
    notes: tuple[str, ...] = ()
    """Differences of other implementations to the reference implementation, and so to this one."""
    config_schema: dict[str, Any] = {"type": "object", "properties": {}}
    """JSON schema of `config` and `model_config`."""
    precisions: tuple[Literal["float32", "bfloat16", "int8"], ...] = ("float32", "bfloat16", "int8")
    """Precisions that the model supports."""
    max_batch_size: int = 16
    """Maximum number of items in one forward pass."""

    def variants_of(self, name: str) -> tuple[str, ...]:
        """The variants that a name of this model means; the default variant is first.

        Args:
            name: The id or an alias, lower case.
        """
        named = [key for key, variant in self.variants.items() if name in variant.aliases]
        return tuple(
            sorted(named or self.variants, key=lambda variant: variant != self.default_variant)
        )

    def name_to_import(self, name: str) -> str:
        """The id, or the name itself if it means only some of the variants."""
        return self.id if len(self.variants_of(name)) == len(self.variants) else name

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """JSON schemas of the options of requests: those of `config_schema`, and the variant."""
        variant = {
            "type": "string",
            "enum": list(self.variants),
            "description": "Variant of the weights, of those that are served.",
        }
        return {**self.config_schema.get("properties", {}), "variant": variant}

    def with_all_options(self) -> ModelCard:
        """A copy with all `options` in its `config_schema`, as users get it."""
        schema = {**self.config_schema, "properties": self.options}
        return self.model_copy(update={"config_schema": schema})

    def preprocessing_digest(self) -> str:
        """SHA-256 of all preprocessing settings, hexadecimal.

        Vectors of two versions can be compared only if the digests are equal.
        """
        record = self.model_dump(mode="json", include={"image", "image_alternatives", "modalities"})
        for modality in record["modalities"].values():
            for name, default in _DIGEST_DEFAULTS.items():
                if modality["sensor"][name] == default:
                    del modality["sensor"][name]
        if self.text is not None:
            record["text"] = self.text.model_dump(mode="json", exclude={"tokenizer_revision"})
        return hashlib.sha256(orjson.dumps(record, option=orjson.OPT_SORT_KEYS)).hexdigest()


class ServedModel(Record):
    """A model that this service serves."""

    tag: str
    """Name and version in the model store."""
    variant: str
    """Variant of the weights."""
    dim: int
    """Length D of the vectors."""
    weights: str
    """`imported`: trained weights. `seeded`: random by design, from a seed. `dummy`: random, for
    tests. `none`: the model has no weights."""
    sha256: str
    """SHA-256 of the weights file."""
    created: datetime
    """When it was saved into the model store."""
    preprocessing: str
    """Digest of the preprocessing settings."""
    modalities: list[str]
    """Modalities of these weights, such as `image`, `text`, `s2`; may be fewer than the card's."""
    card: ModelCard
    """The model's card."""

    @property
    def name(self) -> str:
        """`id:variant`, as in metrics."""
        return f"{self.card.id}:{self.variant}"


class ModelList(Record):
    """The models that this service serves."""

    models: list[ServedModel]
