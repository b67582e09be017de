"""Galileo: optical, radar, elevation, climate and more, over time, in one sequence of tokens."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geobento.cards import Modality, ModelCard, Series, Statistics, Variant, WeightsSource
from geobento.errors import ModelError
from geobento.sample import PixelGrid, Sample, middle
from geobento.specs import Composite, SensorSpec
from models.base import Config, Encoded, Inputs, Model, Tensors, scaled
from models.checkpoints import CheckpointError, require_fit
from models.networks.building import blank
from models.radar import decibels
from models.resample import resized

if TYPE_CHECKING:
    import torch

    from models.networks.galileo import Tokens

S2_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
S2_MEAN = (
    1395.3408730676722, 1338.4026921784578, 1343.09883810357, 1543.8607982512297,
    2186.2022069512263, 2525.0932853316694, 2410.3377187373408, 2750.2854646886753,
    2234.911100061487, 1474.5311266077113,
)  # fmt: skip
S2_STD = (
    917.7041440370853, 913.2988423581528, 1092.678723527555, 1047.2206083460424,
    1048.0101611156767, 1143.6903026819996, 1098.979177731649, 1204.472755085893,
    1145.9774063078878, 980.2429840007796,
)  # fmt: skip
DW_BANDS = (
    "water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare",
    "snow_and_ice",
)  # fmt: skip
WC_BANDS = ("temporarycrops", "maize", "wintercereals", "springcereals", "irrigation")

ALONE = ("s1", "s2")
"""Modalities that can be asked for on their own; the others only go with one of them."""
SERIES = ("era5", "terraclimate", "viirs")
"""Modalities with one value per time step for the whole place."""
MAPS = ("srtm", "dynamic_world", "worldcereal")
"""Modalities without time."""
GROUPS_PER_PATCH = {"s2": 6, "s1": 1}
"""Tokens of each patch and frame; Sentinel-2 has five groups of bands, and NDVI."""

DEFAULT_PATCH = 4
UNKNOWN_MONTH = 5
"""What the authors take where the month is not known, counted from 0: June."""
RESOLUTION_M = 10.0
"""What the authors take where the size of a pixel is not known."""
TILE = 32
"""8 x 8 patches, pixels."""
MAX_TOKENS = 16_384
"""Attention grows with the square of the tokens."""


IN_TIME = Series(usual=12, most=24, part_days=30, aligned=True)
"""As the authors do: a composite for every 30 days, up to a year of them."""


def _four_deviations(mean: Sequence[float], std: Sequence[float]) -> Statistics:
    """Two standard deviations below the mean become 0, two above it 1."""
    return Statistics(
        offset=tuple(m - 2 * s for m, s in zip(mean, std, strict=True)),
        scale=tuple(1 / (4 * s) for s in std),
    )


def _divided(bands: int, by: float) -> Statistics:
    return Statistics(offset=(0.0,) * bands, scale=(1 / by,) * bands)


def _further(
    collection: str,
    bands: tuple[str, ...],
    units: str,
    statistics: Statistics,
    scale_m: float,
    composite: Composite = "mean",
    **fields: Any,
) -> Modality:
    return Modality(
        sensor=SensorSpec(collection, bands, scale_m=scale_m, cloudy_pct=None, composite=composite),
        units=f"{units} (only beside s2 or s1)",
        statistics=statistics,
        further=True,
        **fields,
    )


CARD = ModelCard(
    id="galileo",
    aliases=("galileo_nano", "galileo_tiny", "galileo_base"),
    title="Galileo",
    kind="on_the_fly",
    paper="Tseng et al., Galileo: Learning Global and Local Features of Many Remote Sensing "
    "Modalities, arXiv:2502.09356",
    summary=(
        "A transformer trained on 127,155 places with Sentinel-1 and Sentinel-2 over up to 12 "
        "months, elevation, land cover, climate and night lights, to predict its own features at "
        "fine and at coarse scale. Reads whatever of these is there; strong for crops, land cover "
        "and change through the year, from single images as from time series."
    ),
    licence="MIT",
    variants={
        "nano": Variant(
            dim=128,
            aliases=("galileo_nano",),
            title="4 blocks",
            parameters=1_037_856,
            repository="nasaharvest/galileo",
            files=("models/nano/encoder.pt", "models/nano/config.json"),
        ),
        "tiny": Variant(
            dim=192,
            aliases=("galileo_tiny",),
            title="12 blocks",
            parameters=5_705_520,
            repository="nasaharvest/galileo",
            files=("models/tiny/encoder.pt", "models/tiny/config.json"),
        ),
        "base": Variant(
            dim=768,
            aliases=("galileo_base",),
            title="12 blocks",
            parameters=86_523_072,
            repository="nasaharvest/galileo",
            files=("models/base/encoder.pt", "models/base/config.json"),
        ),
    },
    default_variant="nano",
    modalities={
        "s2": Modality(
            sensor=SensorSpec("COPERNICUS/S2_HARMONIZED", S2_BANDS),
            units="digital numbers, top-of-atmosphere reflectance x 10000",
            statistics=_four_deviations(S2_MEAN, S2_STD),
            min_pixels=DEFAULT_PATCH,
            tile=TILE,
            series=IN_TIME,
            further=True,
        ),
        "s1": Modality(
            sensor=SensorSpec("COPERNICUS/S1_GRD_FLOAT", ("VV", "VH"), cloudy_pct=None),
            units="linear power; scaled as decibels",
            statistics=_four_deviations(
                (-11.728724389184965, -18.85558188024017), (4.887145774840316, 5.730270320384293)
            ),
            min_pixels=DEFAULT_PATCH,
            tile=TILE,
            series=IN_TIME,
            further=True,
        ),
        "srtm": _further(
            "USGS/SRTMGL1_003",
            ("elevation", "slope"),
            "metres, and degrees",
            _four_deviations(
                (673.0152819503361, 5.930092668915115), (983.0697298296237, 8.167406789813247)
            ),
            30,
            "mosaic",
        ),
        "dynamic_world": _further(
            "GOOGLE/DYNAMICWORLD/V1",
            DW_BANDS,
            "mean probabilities, 0 to 1",
            _divided(9, 1),
            10,
            margin_days=31,
        ),
        "worldcereal": _further(
            "ESA/WorldCereal/2021/MODELS/v100", WC_BANDS, "percent", _divided(5, 100), 10, "mosaic"
        ),
        "era5": _further(
            "ECMWF/ERA5_LAND/MONTHLY_AGGR",
            ("temperature_2m", "total_precipitation_sum"),
            "kelvin, and metres per month",
            _four_deviations(
                (271.5674963541667, 0.08554303677156568), (79.80828940314429, 0.11669547098151486)
            ),
            10_000,
            series=IN_TIME,
        ),
        "terraclimate": _further(
            "IDAHO_EPSCOR/TERRACLIMATE",
            ("def", "soil", "aet"),
            "raw values of the collection, 0.1 mm per month",
            _four_deviations(
                (657.3181260091111, 692.1291795806885, 562.781331880633),
                (704.0008695557707, 925.0116126406431, 453.2434022278578),
            ),
            5_000,
            series=IN_TIME,
        ),
        "viirs": _further(
            "NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG",
            ("avg_rad",),
            "nW / (cm2 sr)",
            _four_deviations((1.5647115934036673,), (7.513020170832818,)),
            500,
            series=IN_TIME,
        ),
        "landscan": _further(
            "projects/sat-io/open-datasets/ORNL/LANDSCAN_GLOBAL",
            ("b1",),
            "people per cell of about 1 km2",
            # The authors keep this one in whole numbers.
            Statistics(offset=(-2120.0,), scale=(1 / 4618,)),
            1_000,
        ),
    },
    default_modality="s2",
    pooling=(
        "mean of the tokens of all patches, months and groups of channels after the final norm, "
        "not normalised; a cell of the grid is the mean of its own tokens and those of the whole "
        "place, so both are in the same space"
    ),
    notes=(
        "rs-embed gives raw digital numbers to the network (its default `norm: none`) and "
        "surface reflectance in place of L1C; the authors and this service scale L1C by the "
        "statistics of the training data to about 0..1.",
        "rs-embed and the authors' public input builder leave NDVI out; the authors' training and "
        "evaluation give it to the network, and so does this service.",
        "rs-embed resizes every place to 64 x 64 pixels but says 10 m to the network; here pixels "
        "keep their size, which the network is told. Sides that are no multiple of the patch are "
        "resized to the nearest one.",
        "The authors take consecutive steps of 30 days from the first of a month and mosaic the "
        "least cloudy pixels of each; here the window goes into as many equal parts as it has "
        "times 30 days, and each is the median of its scenes that are clear enough.",
        "Climate and night lights are of the calendar month in which a part of the window begins, "
        "as the authors take ERA5 and VIIRS; of TerraClimate they take the month whose first day "
        "is nearest to the middle of a step. Of parts longer than a month it is the mean.",
        "Where a month is missing, such as October 2023 of VIIRS, that part of the window is left "
        "out; the authors take the month after.",
        "LandScan is the mean of the years that the window lies in; the authors, whose windows "
        "begin in 2022, take its first year from 2022 at the latest.",
        "The authors' code reads square images only; here h and w may differ.",
        "Cells carry where in the input they are, more than what they show. To compare cells of a "
        "place, take off what all tiles have in common, as examples/principal_components.py does.",
        "The network was trained on decibels of sigma nought (Earth Engine's GRD); here they are "
        "made from linear power, which STAC catalogs have as terrain-corrected gamma nought. "
        "Pixels without power are at -50 dB.",
    ),
    feature="mean",
    weights=WeightsSource(
        source="nasaharvest/galileo",
        revision="0f0b5b95ac81acef4b74cf4686dc877202f4541b",
        licence="MIT",
    ),
    needs=("times", "pixel_size"),
    config_schema={
        "type": "object",
        "properties": {
            "patch_size": {
                "type": "integer",
                "minimum": 1,
                "maximum": 8,
                "default": DEFAULT_PATCH,
                "description": "Side of a patch, pixels: smaller ones give a finer grid and take "
                "longer. The space of the vectors stays the same.",
            },
            "location": {
                "type": "boolean",
                "default": False,
                "description": "Whether the network is told longitude and latitude of the place.",
            },
            **IN_TIME.options,
        },
    },
    max_batch_size=8,
)

SIZES = {"nano": (128, 4, 8), "tiny": (192, 12, 3), "base": (768, 12, 12)}
"""Width, blocks and heads of the variants."""


class Galileo(Model):
    """A place as maps over time (`s2`, `s1`) with further inputs in the sample's `extras`.

    All inputs are samples of the place: `s1` and `s2` (T, C, H, W), or (C, H, W) for one image;
    `srtm`, `dynamic_world` and `worldcereal` (C, H, W); `era5`, `terraclimate` and `viirs`
    (T, C, h, w) and `landscan` (1, h, w), of which the mean over the place counts.
    """

    card = CARD

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embedding_size"])

    def modalities(self) -> tuple[str, ...]:
        """What can be asked for on its own."""
        return ALONE

    def prepare(self, sample: Sample) -> Inputs:
        """Scale all inputs by the statistics of the training data, and say when and how large.

        Returns:
            `s2` (T, 10, H, W), `ndvi` (T, 1, H, W), `s1` (T, 2, H, W) decibels, scaled; maps
            (C, H, W), `*_static` (C,), series (T, C), `landscan` (1,), `location` (3,) as far as
            they are given; `months` (T,) 0 to 11; `resolution_um` (2,) ground height and width
            of a pixel, micrometres; `patch_size` ().
        """
        patch = self._patch()
        parts = self._parts(sample)
        frames, _, height, width = parts[sample.modality].pixels.shape
        shape = _whole_patches(height, width, patch)
        self._check_length(parts, frames, shape[0] * shape[1] // patch**2)
        inputs: Inputs = {}
        for name, part in parts.items():
            is_map = name in (*ALONE, *MAPS)
            read = replace(part, pixels=decibels(part.pixels, CARD.id)) if name == "s1" else part
            values = scaled(read, CARD, min_pixels=patch if is_map else 1)
            inputs[name] = resized(values, shape, "bilinear") if is_map else values[..., 0, 0]
            if name == "s2":
                inputs["ndvi"] = resized(_ndvi(part.pixels), shape, "bilinear")
            if name in ("dynamic_world", "worldcereal"):
                inputs[f"{name}_static"] = values.mean(axis=(1, 2))
        if self._option("location", bool, False):
            inputs["location"] = _on_the_sphere(sample.grid)
        return inputs | {
            "months": _months(sample.times, frames, one_image=sample.pixels.ndim == 3),
            "resolution_um": _resolution_um(sample, shape),
            "patch_size": np.asarray(patch, np.int64),
        }

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Equal shapes and equal patches."""
        return super().batch_key(inputs), int(inputs["patch_size"])

    def network(self) -> torch.nn.Module:
        """The encoder."""
        from models.networks import galileo

        return galileo.Galileo(
            dim=self.dim,
            depth=self.config["depth"],
            heads=self.config["num_heads"],
            mlp_ratio=self.config["mlp_ratio"],
            patch=self.config["max_patch_size"],
            frames=self.config["max_sequence_length"],
        )

    def tokens(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Tokens:
        """All tokens after the final norm."""
        resolution_m = batch["resolution_um"].double() / 1e6
        found: Tokens = network(batch, batch["months"], resolution_m, int(batch["patch_size"][0]))
        return found

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Mean tokens of the patches, and the mean over all tokens as the vector."""
        tokens = self.tokens(network, batch)
        patches = tokens.patches()
        height, width = patches.shape[1:3]
        return Encoded(
            tokens=patches.flatten(1, 2),
            grid_shape=(height, width),
            vector=tokens.sequence().mean(dim=1),
        )

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        width, depth, heads = SIZES[variant]
        return _config({"embedding_size": width, "depth": depth, "num_heads": heads})

    @classmethod
    def convert(
        cls, checkpoint: Tensors, record: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The authors' `encoder.pt`, with the `config.json` beside it or the variant's sizes."""
        arch = _stated(record)
        config = _config(arch) if arch else cls.default_config(variant)
        sizes = config["embedding_size"], config["depth"], config["num_heads"]
        for other, released in SIZES.items():
            if sizes == released and variant in SIZES and other != variant:
                raise CheckpointError(f"the configuration is that of {other}, not of {variant}")
        named = {name.replace(".backbone", ""): tensor for name, tensor in checkpoint.items()}
        require_fit(named, blank(cls(config)).state_dict(), "checkpoint of Galileo")
        return config, named

    def _option(self, name: str, kind: type, default: Any) -> Any:
        value = self.options.get(name, default)
        if type(value) is not kind:
            raise ModelError(
                f"{name} is {value!r}; accepted: {kind.__name__}", field=f"model_config.{name}"
            )
        return value

    def _patch(self) -> int:
        patch: int = self._option("patch_size", int, DEFAULT_PATCH)
        largest = self.config["max_patch_size"]
        if not 1 <= patch <= largest:
            raise ModelError(
                f"patch_size is {patch}; accepted: 1 to {largest}", field="model_config.patch_size"
            )
        return patch

    def _parts(self, sample: Sample) -> dict[str, Sample]:
        """All inputs by name, images as series of one; their shapes fit each other."""
        parts = {sample.modality: sample, **sample.extras}
        if unknown := sorted(set(parts) - set(CARD.modalities)):
            raise ModelError(
                f"{CARD.id} does not read {unknown[0]!r}; accepted: {', '.join(CARD.modalities)}",
                field="modality",
            )
        if sample.modality not in ALONE:
            raise ModelError(
                f"{CARD.id} reads {sample.modality!r} only as a further input of "
                f"{' or '.join(ALONE)}",
                field="modality",
            )
        parts = {name: _completed(name, part) for name, part in parts.items()}
        frames, _, height, width = parts[sample.modality].pixels.shape
        for name, part in parts.items():
            shape = _shape(name, frames, height, width)
            if part.pixels.shape != shape:
                raise ModelError(
                    f"{name} has shape {part.pixels.shape}, expected {shape}", field="sensor"
                )
        return parts

    def _check_length(self, parts: Iterable[str], frames: int, cells: int) -> None:
        """Check the number of frames, and of the tokens of the maps over time."""
        longest = self.config["max_sequence_length"]
        if frames > longest:
            raise ModelError(
                f"{CARD.id} reads up to {longest} frames, got {frames}", field="temporal"
            )
        tokens = frames * cells * sum(GROUPS_PER_PATCH[name] for name in parts if name in ALONE)
        if tokens > MAX_TOKENS:
            raise ModelError(
                f"the place gives {tokens:,} tokens, {CARD.id} takes up to {MAX_TOKENS:,}; take a "
                "smaller place, a larger scale_m or patch_size, fewer frames or input_prep 'tile'",
                field="spatial",
                detail={"tokens": tokens, "limit": MAX_TOKENS},
            )


def _completed(name: str, part: Sample) -> Sample:
    """An input with all the axes and values that the network's has.

    One image is a series of one. Of what is not a map there is the mean over the place, with which
    the authors fill gaps of maps, too.
    """
    if name in (*ALONE, *SERIES) and part.pixels.ndim == 3:
        valid = None if part.valid is None else part.valid[None]
        part = replace(part, pixels=part.pixels[None], valid=valid)
    if name in ALONE:
        return part
    seen = np.ones_like(part.pixels[..., 0, :, :], bool) if part.valid is None else part.valid
    seen = seen[..., None, :, :]
    total = np.where(seen, part.pixels, 0).sum(axis=(-2, -1), keepdims=True, dtype=np.float64)
    mean = total / np.maximum(seen.sum(axis=(-2, -1), keepdims=True), 1)
    pixels = np.where(seen, part.pixels, mean) if name in MAPS else mean
    return replace(part, pixels=pixels.astype(np.float32), valid=None)


def _shape(name: str, frames: int, height: int, width: int) -> tuple[int, ...]:
    """The shape of an input that goes with `frames` maps of `height` x `width` pixels."""
    bands = len(CARD.modalities[name].sensor.bands)
    if name in ALONE:
        return frames, bands, height, width
    if name in MAPS:
        return bands, height, width
    return (frames, bands, 1, 1) if name in SERIES else (bands, 1, 1)


def _whole_patches(height: int, width: int, patch: int) -> tuple[int, int]:
    """The nearest sides that are multiples of the patch."""
    rows, columns = (max(1, math.floor(side / patch + 0.5)) for side in (height, width))
    return rows * patch, columns * patch


def _ndvi(numbers: NDArray[Any]) -> NDArray[np.float32]:
    """NDVI (T, 1, H, W) of unscaled Sentinel-2 bands; 0 where there is no light."""
    red, near_infrared = (
        numbers[:, S2_BANDS.index(band), None].astype(np.float32) for band in ("B4", "B8")
    )
    total = near_infrared + red
    index: NDArray[np.float32] = np.zeros_like(total)
    np.divide(near_infrared - red, total, out=index, where=total > 0)
    return index


def _months(times: Sequence[datetime], frames: int, *, one_image: bool) -> NDArray[np.int64]:
    """Months (T,), 0 to 11; those of one image are that of the middle of its scenes' times."""
    if not times:
        return np.full(frames, UNKNOWN_MONTH, np.int64)
    if one_image:
        times = [middle(times)]
    if len(times) != frames:
        raise ModelError(f"there are {frames} frames but {len(times)} times", field="temporal")
    return np.asarray([time.month - 1 for time in times], np.int64)


def _resolution_um(sample: Sample, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Ground height and width of a pixel after a resize to `shape`, micrometres.

    Whole numbers, because the number format of a forward pass may round others.
    """
    across, down = (RESOLUTION_M,) * 2 if sample.grid is None else sample.grid.resolution
    height, width = sample.pixels.shape[-2:]
    metres = np.asarray([down * height / shape[0], across * width / shape[1]])
    return np.rint(metres * 1e6).astype(np.int64)


def _on_the_sphere(grid: PixelGrid | None) -> NDArray[np.float32]:
    """The centre of a place as a point (x, y, z) of the unit sphere."""
    if grid is None:
        raise ModelError(
            "where the place lies is not known; ask without location",
            field="model_config.location",
        )
    left, bottom, right, top = grid.bounds
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = map(math.radians, to_degrees.transform((left + right) / 2, (bottom + top) / 2))
    return np.asarray(
        [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)], np.float32
    )


def _stated(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The encoder's sizes in a configuration; empty where it states none.

    The authors' file has them under `model.encoder`.
    """
    found = record.get("arch", record.get("model", {}))
    if isinstance(found, Mapping):
        found = found.get("encoder", found)
    if not isinstance(found, Mapping):
        raise CheckpointError("the configuration's model.encoder is not an object")
    return found


def _config(arch: Mapping[str, Any]) -> Config:
    """Architecture record; sizes that all variants share may be left out."""
    common = {"mlp_ratio": 4, "max_patch_size": 8, "max_sequence_length": 24}
    needed = ("embedding_size", "depth", "num_heads", *common)
    config = {name: arch.get(name, common.get(name)) for name in needed}
    for name, size in config.items():
        if type(size) is not int or size < 1:
            raise CheckpointError(f"the configuration's {name} is {size!r}, not a size")
    width, heads = config["embedding_size"], config["num_heads"]
    if width % 16 or width % heads:
        raise CheckpointError(
            f"an embedding_size of {width} is no multiple of 16 and of {heads} heads"
        )
    return config
