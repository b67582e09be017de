"""The record of a model: what it is, what it reads, what it answers.

A card is data alone. Importing or reading one loads no network.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from geobento.schemas.specs import SensorSpec, Temporal


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


_omit_if_empty = Field(exclude_if=lambda value: not value)
"""Keeps a field that few models have out of the records, and digests, of all others."""


class Variant(_Record):
    """One size or flavour of a model."""

    dim: int
    """Length D of its vectors."""
    title: str
    """What sets it apart, in one line."""
    aliases: tuple[str, ...] = ()
    """Those of the model's aliases that stand for this variant and not for every one."""
    parameters: int = 0
    """Learned parameters."""
    repository: str | None = None
    """Repository on the Hugging Face hub that holds its weights."""
    revision: str = "main"
    """Commit or branch of the repository."""
    files: tuple[str, ...] = ("model.safetensors", "config.json")
    """Weights file and configuration file of the repository."""


class ImageInput(_Record):
    """How `image_embedding` brings a picture to the model."""

    modality: str
    """Name of the modality that pictures feed."""
    size: int | None = None
    """Side in pixels that `resize` aims at; null: pictures are taken as they are."""
    resize: Literal["none", "squash", "shorter_side"] = "none"
    """`squash`: both sides to `size`, the aspect ratio is not kept. `shorter_side`: the shorter
    side to `size`, the other in proportion."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Kernel of the resize, antialiased."""
    resize_in: Literal["uint8", "float"] = "uint8"
    """Whether the resize rounds to 8 bits, as on pictures, or not, as on tensors."""
    crop: int | None = None
    """Side in pixels of the square cut from the centre after the resize."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from values / 255, per channel."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divided by afterwards, per channel."""
    pooling: Literal["native", "mean"] = "mean"
    """What the vector is: the authors' own feature of a picture, or the mean of the grid."""
    min_side: int = 1
    """Smallest height and width accepted, pixels."""
    normalize: bool = False
    """Whether vectors have unit length unless the request says otherwise."""


class TextInput(_Record):
    """How texts are brought to the model: cleaned, cut into tokens of its own vocabulary."""

    modality: str = "text"
    """Name of the modality that texts feed."""
    max_tokens: int
    """Most tokens of a text, the marks of its begin and end among them; the rest is cut off."""
    pad: int
    """Token that fills up shorter texts."""
    begin: int
    """Token before the first of a text."""
    end: int
    """Token after the last of a text."""
    tokenizer_repository: str
    """Repository on the Hugging Face hub that holds `tokenizer.json`."""
    tokenizer_revision: str = "main"
    """Commit or branch of that repository."""
    normalize: bool = True
    """Whether vectors have unit length unless the request says otherwise."""


class Normalization(_Record):
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


class TimeSeries(_Record):
    """How a window of time becomes a series of composites, one for each of its equal parts."""

    default_frames: int
    """Parts of a window, unless the request says otherwise; with `part_days` at most this many."""
    max_frames: int
    """Largest number of parts that a request may ask for."""
    days_per_frame: int | None = None
    """There are as many parts as the window has times this many days; null: always `usual`."""
    align_frames: bool = False
    """Whether further modalities have to show the same parts of the window."""

    @property
    def options(self) -> dict[str, Any]:
        """JSON schemas of the options that change it."""
        return {
            "n_frames": {
                "type": "integer",
                "minimum": 1,
                "maximum": self.max_frames,
                "description": "Into how many equal parts the window goes, each with a composite "
                "of its own.",
            },
            "temporal_mode": {
                "type": "string",
                "enum": ["auto", "single", "multi"],
                "default": "auto",
                "description": "`single`: one composite of the whole window. `multi`: at least "
                "two.",
            },
        }


class Modality(_Record):
    """One kind of satellite imagery that the model reads."""

    sensor: SensorSpec
    """Where its pixels come from unless the request says otherwise."""
    units: str
    """Units of the raw pixels."""
    normalization: Normalization
    """How raw pixels are scaled; one value for each of `choice`, if there is one, else for each
    band of the sensor."""
    selectable_bands: Annotated[tuple[str, ...], _omit_if_empty] = ()
    """Bands of which a sensor may name any, in any order; empty: only the sensor's, in its
    order."""
    band_options: Annotated[str | None, _omit_if_empty] = None
    """Option of the model that describes bands which the card does not; with it a sensor may name
    any."""
    wavelengths_um: Annotated[dict[str, float], _omit_if_empty] = {}
    """Where a band lies in the spectrum, micrometres, for models that read it."""
    size: int | None = None
    """Input side in pixels; null: any size, the place is taken as it is."""
    tile: Annotated[int | None, _omit_if_empty] = None
    """Side of a tile in pixels, for places that are cut into tiles; null: `size`."""
    min_pixels: int = 1
    """Smallest height and width accepted, pixels."""
    max_pixels: Annotated[int | None, _omit_if_empty] = None
    """Most pixels of a place, where the service accepts more; null: as many as the service does."""
    normalize: Annotated[bool, _omit_if_empty] = False
    """Whether the authors' vector of a place has unit length."""
    series: Annotated[TimeSeries | None, _omit_if_empty] = None
    """Several composites in time; absent: one."""
    fixed_collection: Annotated[bool, _omit_if_empty] = False
    """Whether a sensor must name the same collection, because no other shows what the model was
    trained on; pixels of one's own may come from anywhere."""
    margin_days: Annotated[int, _omit_if_empty] = 0
    """As a further modality: days before and after the window of which scenes count, too."""
    auxiliary: Annotated[bool, _omit_if_empty] = False
    """Whether requests may name it in `auxiliary_modalities`, beside another one."""

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that the statistics belong to."""
        return self.selectable_bands or self.sensor.bands


class WeightsSource(_Record):
    """Where the weights come from."""

    source: str
    """Repository or file of the authors; `seeded` where nothing is learned, `none` where there are
    no weights."""
    revision: str | None = None
    """Commit or version."""
    licence: str
    """Licence of the weights."""


_DIGEST_DEFAULTS = {"cloud_mask": "quality_band"}
"""Fields of sensors that came after the first models were saved. At these values nothing is
different from what it was, and the digests are those that models were saved under."""


class ModelCard(_Record):
    """Everything about a model that a caller or a deployer needs to know."""

    id: str
    """Name in requests and in the model store."""
    aliases: tuple[str, ...] = ()
    """Other names that requests may use."""
    title: str
    """Name for people."""
    kind: Literal["on_the_fly", "precomputed"]
    """Whether vectors are computed for the request or read from a finished product."""
    paper: str
    """Citation with DOI or arXiv id."""
    summary: str
    """What the model sees in its input, in two or three sentences."""
    licence: str
    """Licence of the weights."""
    variants: dict[str, Variant]
    """Sizes or flavours."""
    default_variant: str
    """The variant that is imported unless another is named."""
    image: ImageInput | None = None
    """Pictures; null: the model does not take part in `image_embedding`."""
    image_alternatives: dict[str, ImageInput] = {}
    """Other ways to bring a picture to the model, chosen by `config.preprocessing`."""
    text: TextInput | None = None
    """Texts; null: the model does not take part in `text_embedding`."""
    modalities: dict[str, Modality] = {}
    """Satellite imagery; empty: the model does not take part in `geo_embedding`."""
    default_modality: str | None = None
    """Modality of a request that names none."""
    default_temporal: Annotated[Temporal | None, Field(exclude_if=lambda v: v is None)] = None
    """Time window of a request that names none; absent: a window is required."""
    pooling: str
    """How the vector for a whole place comes about, and what space it is in."""
    feature: Literal["mean", "own"] = "own"
    """What that vector is: the `mean` of the grid, which can be taken over part of a place, too; or
    the authors' `own`, of the input as a whole."""
    class_token: Annotated[bool, _omit_if_empty] = False
    """Whether the network has a class token, so that `pooling: cls` is on offer."""
    outputs: tuple[Literal["pooled", "grid"], ...] = ("pooled", "grid")
    """Answers on offer."""
    required_metadata: tuple[Literal["times", "pixel_size"], ...] = ()
    """What the model is told besides pixels, and own data have to say: when they are from, how
    large a pixel is on the ground."""
    weights: WeightsSource
    """Where the weights come from."""
    notes: tuple[str, ...] = ()
    """Where other implementations differ from the authors, and so from this one."""
    config_schema: dict[str, Any] = {"type": "object", "properties": {}}
    """JSON schema of `config` and `model_config`."""
    precisions: tuple[Literal["float32", "bfloat16", "int8"], ...] = ("float32", "bfloat16", "int8")
    """Number formats that the model may compute in."""
    max_batch_size: int = 16
    """Items in one forward at most."""

    def variants_of(self, name: str) -> tuple[str, ...]:
        """The variants that a name of this model stands for, its default first if it is one.

        Args:
            name: The id or an alias, lower case.
        """
        named = [key for key, variant in self.variants.items() if name in variant.aliases]
        return tuple(
            sorted(named or self.variants, key=lambda variant: variant != self.default_variant)
        )

    def name_to_import(self, name: str) -> str:
        """The id, or the name itself where it stands for some variants only."""
        return self.id if len(self.variants_of(name)) == len(self.variants) else name

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """JSON schemas of the options that requests may set: `config_schema`, and the variant."""
        variant = {
            "type": "string",
            "enum": list(self.variants),
            "description": "Which weights, of those that are served.",
        }
        return {**self.config_schema.get("properties", {}), "variant": variant}

    def with_all_options(self) -> ModelCard:
        """The same with `options` in its `config_schema`, for those who read it."""
        schema = {**self.config_schema, "properties": self.options}
        return self.model_copy(update={"config_schema": schema})

    def preprocessing_digest(self) -> str:
        """Hex digest of everything that decides what the network sees.

        Vectors of two versions may be compared only where the digests are equal.
        """
        record = self.model_dump(mode="json", include={"image", "image_alternatives", "modalities"})
        for modality in record["modalities"].values():
            for name, default in _DIGEST_DEFAULTS.items():
                if modality["sensor"][name] == default:
                    del modality["sensor"][name]
        if self.text is not None:
            record["text"] = self.text.model_dump(mode="json", exclude={"tokenizer_revision"})
        return hashlib.sha256(orjson.dumps(record, option=orjson.OPT_SORT_KEYS)).hexdigest()


class ServedModel(_Record):
    """A model that this service answers with."""

    tag: str
    """Name and version in the model store."""
    variant: str
    """Variant of the weights."""
    dim: int
    """Length D of the vectors."""
    weights: str
    """`seeded`, `imported`, `dummy`, or `none` where there are none."""
    sha256: str
    """Digest of the weights file."""
    created: datetime
    """When it was saved into the model store."""
    preprocessing: str
    """Digest of the preprocessing record."""
    modalities: list[str]
    """What these weights read, such as `image`, `text`, `s2`; may be less than the card lists."""
    card: ModelCard
    """The model's card."""

    @property
    def name(self) -> str:
        """`id:variant`, as it stands in metrics."""
        return f"{self.card.id}:{self.variant}"


class ModelList(_Record):
    """The models that this service answers with."""

    models: list[ServedModel]
