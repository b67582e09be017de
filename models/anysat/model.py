"""AnySat: series of Sentinel-2 and Sentinel-1 and aerial images, patches of any ground size."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import (
    Modality,
    ModelCard,
    Normalization,
    TimeSeries,
    Variant,
    WeightsSource,
)
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample, mid_time
from geobento.schemas.specs import SensorSpec
from models.base import Model
from models.preprocessing.pixels import normalized
from models.preprocessing.radar import power_to_db
from models.preprocessing.resampling import resize
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.checkpoints import CheckpointError, require_state_dict
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch

S2_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
S2_MEAN = (
    4304.32958984375, 4159.2666015625, 4057.776611328125, 4328.951171875, 4571.22119140625,
    4644.87109375, 4837.2470703125, 4700.2578125, 2823.264404296875, 2319.97021484375,
)  # fmt: skip
S2_STD = (
    3537.99755859375, 3324.23486328125, 3270.070068359375, 3250.530029296875, 2897.391357421875,
    2754.4970703125, 2821.521484375, 2625.952392578125, 1731.56298828125, 1549.3028564453125,
)  # fmt: skip
S1_MEAN = (3.2893013954162598, -3.682938814163208)
S1_STD = (40.11152267456055, 40.535335540771484)
RATIO_MEAN = 0.6116273403167725
RATIO_STD = 1.0343183279037476
AERIAL_MEAN = (150.89349365234375, 92.7138900756836, 84.85437774658203, 80.70423889160156)
AERIAL_STD = (36.764923095703125, 27.62498664855957, 22.479450225830078, 26.733688354492188)

CELL_M = 10
"""Patches are a multiple of this, metres."""
PIXELS_PER_CELL = {"aerial": 50, "s2": 1, "s1": 1}
"""Pixels along a cell as the network reads them, in the order in which it reads them."""
SERIES_MODALITIES = ("s2", "s1")
"""Modalities with a time axis."""
DEFAULT_PATCH_M = 40
MAX_PATCH_M = 200
TILE_SIZE = 64
"""256 patches of 40 m; the authors advise up to 1024."""
TIME_SERIES = TimeSeries(default_frames=8, max_frames=32)
MAX_TOKENS = 4096
"""Patches times modalities; the authors advise 1024 patches at most."""
SUBPATCHES_PER_CELL = {"aerial": 25, "s2": 1, "s1": 1}
"""Sub-patches of a cell."""
MAX_SUBPATCHES = 65_536
"""Sub-patches of a place, of all modalities."""
MAX_AERIAL_PATCH_M = 100
"""Larger patches have more than 2500 sub-patches; attention grows with their square."""
MAX_MISALIGNMENT_M = CELL_M / 2
"""How far the edges of modalities may lie apart, metres."""


def _z_score_normalization(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization:
    return Normalization(offset=mean, scale=tuple(1 / value for value in std))


CARD = ModelCard(
    id="anysat",
    aliases=("anysat_base",),
    title="AnySat",
    kind="on_the_fly",
    paper="Astruc et al., AnySat: One Earth Observation Model for Many Resolutions, Scales, and "
    "Modalities, CVPR 2025, arXiv:2412.14123",
    summary=(
        "A transformer that learned from eleven sensors of 0.2 to 250 m without labels, by "
        "predicting its own features of hidden patches. Reads time series with their dates and "
        "aerial images together, in patches whose ground size is chosen per request; strong for "
        "crops, forests and land cover."
    ),
    licence="MIT",
    variants={
        "base": Variant(
            dim=768,
            title="12 blocks and one of cross-attention",
            parameters=101_023_266,
            repository="g-astruc/AnySat",
            files=("models/AnySat.pth",),
        )
    },
    default_variant="base",
    modalities={
        "s2": Modality(
            sensor=SensorSpec("COPERNICUS/S2_SR_HARMONIZED", S2_BANDS),
            units="digital numbers, surface reflectance x 10000",
            normalization=_z_score_normalization(S2_MEAN, S2_STD),
            min_pixels=DEFAULT_PATCH_M // CELL_M,
            tile=TILE_SIZE,
            series=TIME_SERIES,
            auxiliary=True,
        ),
        "s1": Modality(
            sensor=SensorSpec("COPERNICUS/S1_GRD_FLOAT", ("VV", "VH"), cloudy_pct=None),
            units="linear power; scaled as decibels, with VV - VH as the third channel",
            normalization=_z_score_normalization(S1_MEAN, S1_STD),
            min_pixels=DEFAULT_PATCH_M // CELL_M,
            tile=TILE_SIZE,
            series=TIME_SERIES,
            auxiliary=True,
        ),
        "aerial": Modality(
            sensor=SensorSpec(
                "Germany/Brandenburg/orthos/20cm",
                ("R", "G", "B", "N"),
                scale_m=0.2,
                cloudy_pct=None,
                composite="mosaic",
            ),
            units="8-bit brightness",
            normalization=_z_score_normalization(AERIAL_MEAN, AERIAL_STD),
            min_pixels=DEFAULT_PATCH_M // CELL_M * PIXELS_PER_CELL["aerial"],
            fixed_collection=True,
            auxiliary=True,
        ),
    },
    default_modality="s2",
    pooling=(
        "the class token after the cross-attention, without a norm (the authors' `tile`); the grid "
        "holds the tokens of the patches (their `patch`), which come from the same layer; mean and "
        "max are of these"
    ),
    notes=(
        "rs-embed standardises each place by its own mean and standard deviation, which loses how "
        "bright it is; the authors take statistics of each dataset. Here they are those of the "
        "authors' own example (TreeSatAI), the only ones published.",
        "rs-embed cuts digital numbers off at 10000; here they are taken as they are.",
        "rs-embed resizes every place to 24 x 24 pixels but calls them 10 m; here pixels are "
        "brought to their true size on the ground, and sides that are no multiple of the patch to "
        "the nearest one (bilinear).",
        "rs-embed's vector is the mean of the patches (here `pooling: mean`), and its default grid "
        "their tokens beside those of single pixels, 1536 long; here all vectors have 768 values.",
        "The authors give every acquisition, clouds included; here it is the composites of "
        "equal parts of the window, eight as in rs-embed. Parts in which nothing was seen are "
        "left out, not filled in.",
        "Days are counted from 0 on January 1st, as the authors write; their example counts from "
        "1. One image has the day in the middle of its scenes' times.",
        "The units of Sentinel-1 in the training are not documented, and the published statistics "
        "fit neither decibels nor power well; here it is decibels and their difference.",
        "The authors' code reads square places only; here height and width may differ.",
        "Pixels of a series without data become the network's learned value for masked pixels.",
        "The authors' aerial images have 0.2 m. Earth Engine has such of Brandenburg; of other "
        "places, pixels of one's own are read. USDA/NAIP/DOQQ cannot stand in: the authors read it "
        "at 1.25 m with weights of its own, and no statistics of it are published.",
        "Of the released weights, what reads other sensors is left out. Attention is the plain "
        "one, as in the authors' example; the switch `flash_attn` of their code computes "
        "something else.",
    ),
    required_metadata=("times", "pixel_size"),
    weights=WeightsSource(source="g-astruc/AnySat", licence="MIT"),
    config_schema={
        "type": "object",
        "properties": {
            "patch_size": {
                "type": "integer",
                "minimum": CELL_M,
                "maximum": MAX_PATCH_M,
                "default": DEFAULT_PATCH_M,
                "description": "Side of a patch on the ground, metres, a multiple of 10: smaller "
                "ones give a finer grid and take longer.",
            },
            **TIME_SERIES.options,
        },
    },
    max_batch_size=8,
)

ARCHITECTURE: Config = {"embed_dim": 768, "depth": 6, "num_heads": 12, "mlp_ratio": 4}

UNUSED_SENSORS = ("aerial-flair", "spot", "naip", "s1-asc", "l7", "l8", "alos", "modis")
"""Sensors of the released file that are not read here."""
PROJECTOR_PREFIX = "projector_"

PATCH_COUNTS_KEY, PATCH_M_KEY = "patches", "patch_m"


class AnySat(Model):
    """A place as series (`s2`, `s1`) and as an aerial image, any of them or together.

    The modality of the sample and those of its `extras` have the same ground: `s2` (T, 10, H, W)
    and `s1` (T, 2, H, W), each with as many dates as it has, or (C, H, W) for one image; `aerial`
    (4, H, W).
    """

    card = CARD

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embed_dim"])

    def prepare(self, sample: Sample) -> Inputs:
        """Scale all inputs, bring them to whole patches, and say of which days they are.

        Returns:
            `s2` (T, 10, H, W), `s1` (T, 3, H, W) and `aerial` (4, H, W) as far as they are given:
            z-scores at 10 and 0.2 m; `<series>_days` (T,) from 0, `<series>_missing` (T, H, W);
            `patches` (2,) high and wide; `patch_m` ().
        """
        patch_m = self._patch_size_m()
        parts = _collect_inputs(sample)
        high, wide = _patch_counts(sample, patch_m)
        _check_token_count(parts, patch_m, high * wide)
        inputs: Inputs = {
            PATCH_COUNTS_KEY: np.asarray((high, wide), np.int64),
            PATCH_M_KEY: np.asarray(patch_m, np.int64),
        }
        for name, part in parts.items():
            side = patch_m // CELL_M * PIXELS_PER_CELL[name]
            shape = high * side, wide * side
            inputs[name] = resize(_normalize(part), shape, "bilinear", antialias=True)
            if name in SERIES_MODALITIES:
                inputs[f"{name}_days"] = _days_of_year(part)
                inputs[f"{name}_missing"] = _missing_mask(part, shape)
        return inputs

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Equal shapes and equal patches."""
        return (
            super().batch_key(inputs),
            inputs[PATCH_COUNTS_KEY].tobytes(),
            int(inputs[PATCH_M_KEY]),
        )

    def network(self) -> torch.nn.Module:
        """The encoder."""
        from models.anysat import network as anysat_network

        return anysat_network.AnySatEncoder(**self.config)

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """The class token as the vector, and the tokens of the patches."""
        high, wide = batch[PATCH_COUNTS_KEY][0].tolist()
        tokens = network(batch, (high, wide), int(batch[PATCH_M_KEY][0]))
        return Encoded(tokens, (high, wide), num_prefix_tokens=1, vector=tokens[:, 0])

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        return _build_config({})

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The authors' file, of which the projectors of other sensors are left out."""
        config = _build_config(checkpoint_config.get("arch", checkpoint_config))
        others = tuple(f"{PROJECTOR_PREFIX}{name}." for name in UNUSED_SENSORS)
        named = {
            name.replace(PROJECTOR_PREFIX, "projectors.", 1): tensor
            for name, tensor in checkpoint.items()
            if not name.startswith(others)
        }
        require_state_dict(named, on_meta(cls(config).network).state_dict(), "checkpoint of AnySat")
        return config, named

    def _patch_size_m(self) -> int:
        patch = self.options.get("patch_size", DEFAULT_PATCH_M)
        if type(patch) is not int or patch % CELL_M or not CELL_M <= patch <= MAX_PATCH_M:
            raise ModelError(
                f"patch_size is {patch!r}; accepted: multiples of {CELL_M} from {CELL_M} to "
                f"{MAX_PATCH_M}, metres",
                field="model_config.patch_size",
            )
        return patch


def _collect_inputs(sample: Sample) -> dict[str, Sample]:
    """All inputs by name, in the order of the network; they are of one ground."""
    given = {sample.modality: sample, **sample.extras}
    if unknown := sorted(set(given) - set(PIXELS_PER_CELL)):
        raise ModelError(
            f"{CARD.id} does not read {unknown[0]!r}; accepted: {', '.join(PIXELS_PER_CELL)}",
            field="modality",
        )
    for name, part in given.items():
        axes = (3, 4) if name in SERIES_MODALITIES else (3,)
        if part.pixels.ndim not in axes or not part.pixels.size:
            raise ModelError(
                f"{name} has shape {part.pixels.shape}, expected "
                + " or ".join("(T, C, H, W)" if count == 4 else "(C, H, W)" for count in axes),
                field="sensor",
            )
        _check_ground(name, part, sample)
    return {name: given[name] for name in PIXELS_PER_CELL if name in given}


def _ground_size_m(sample: Sample) -> tuple[float, float]:
    """Ground height and width, metres; pixels are those of the sensor where no grid is known."""
    native = CELL_M / PIXELS_PER_CELL[sample.modality]
    across, down = (native, native) if sample.grid is None else sample.grid.resolution
    height, width = sample.pixels.shape[-2:]
    return height * down, width * across


def _check_ground(name: str, auxiliary: Sample, primary: Sample) -> None:
    """Check that a further input has the ground of the first, by its grid or else by its size."""
    if auxiliary.grid is not None and primary.grid is not None:
        apart = np.subtract(auxiliary.grid.bounds, primary.grid.bounds)
        same = auxiliary.grid.crs == primary.grid.crs and np.abs(apart).max() <= MAX_MISALIGNMENT_M
    else:
        apart = np.subtract(_ground_size_m(auxiliary), _ground_size_m(primary))
        same = bool(np.abs(apart).max() <= MAX_MISALIGNMENT_M)
    if not same:
        high, wide = _ground_size_m(auxiliary)
        raise ModelError(
            f"{name} has other ground ({high:g} x {wide:g} m) than {primary.modality}; all inputs of "
            "a place need the same bounds",
            field="spatial",
        )


def _patch_counts(sample: Sample, patch_m: int) -> tuple[int, int]:
    """The nearest number of patches, high and wide."""
    ground = _ground_size_m(sample)
    # Coordinates leave room for rounding.
    if min(ground) < patch_m * (1 - 1e-6):
        raise ModelError(
            f"the place has {ground[0]:g} x {ground[1]:g} m, a patch {patch_m} m; take a larger "
            "place or a smaller patch_size",
            field="spatial",
        )
    high, wide = (math.floor(side / patch_m + 0.5) for side in ground)
    return high, wide


def _check_token_count(modalities: Iterable[str], patch_m: int, patches: int) -> None:
    """Check the number of patches and of sub-patches, of the place and of one patch."""
    names = list(modalities)
    of_patch = (patch_m // CELL_M) ** 2 * sum(SUBPATCHES_PER_CELL[name] for name in names)
    for what, count, limit, remedy in (
        ("tokens", patches * len(names), MAX_TOKENS, " or a larger patch_size"),
        ("sub-patches", patches * of_patch, MAX_SUBPATCHES, ""),
    ):
        if count > limit:
            raise ModelError(
                f"the place gives {count:,} {what}, {CARD.id} takes up to {limit:,}; take a "
                f"smaller place{remedy}",
                field="spatial",
                detail={what: count, "limit": limit},
            )
    largest = MAX_AERIAL_PATCH_M if "aerial" in names else MAX_PATCH_M
    if patch_m > largest:
        raise ModelError(
            f"patch_size is {patch_m}; accepted with aerial images: up to {largest}",
            field="model_config.patch_size",
        )


def _normalize(sample: Sample) -> NDArray[np.float32]:
    """Values (T, C, H, W) of a series or (C, H, W) of an aerial image; radar with its ratio."""
    if sample.modality not in SERIES_MODALITIES:
        return normalized(sample, CARD)
    series = replace(sample, pixels=sample.pixels.reshape(-1, *sample.pixels.shape[-3:]))
    if sample.modality != "s1":
        return normalized(series, CARD)
    series = replace(series, pixels=power_to_db(series.pixels, CARD.id))
    scores = normalized(series, CARD)
    ratio = (series.pixels[:, :1] - series.pixels[:, 1:] - RATIO_MEAN) / RATIO_STD
    return np.concatenate([scores, ratio.astype(np.float32)], axis=1)


def _days_of_year(sample: Sample) -> NDArray[np.int64]:
    """Days of the year (T,), from 0; that of one image is in the middle of its scenes' times."""
    times = sample.times
    if not times:
        raise ModelError(f"{CARD.id} needs the dates of {sample.modality}", field="temporal")
    if sample.pixels.ndim == 3:
        times = (mid_time(times),)
    frames = len(sample.pixels) if sample.pixels.ndim == 4 else 1
    if len(times) != frames:
        raise ModelError(
            f"{sample.modality} has {frames} frames but {len(times)} times", field="temporal"
        )
    return np.asarray([time.timetuple().tm_yday - 1 for time in times], np.int64)


def _missing_mask(sample: Sample, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (T, height, width) without data."""
    frames = len(sample.pixels) if sample.pixels.ndim == 4 else 1
    if sample.valid is None:
        return np.zeros((frames, *shape), np.bool_)
    missing = resize(~sample.valid, shape, "nearest") > 0
    return np.ascontiguousarray(np.broadcast_to(missing, (frames, *shape)))


def _build_config(arch: Mapping[str, Any]) -> Config:
    """Architecture record; what is left out is as released."""
    config = {name: arch.get(name, value) for name, value in ARCHITECTURE.items()}
    for name, size in config.items():
        if type(size) is not int or size < 1:
            raise CheckpointError(f"the configuration's {name} is {size!r}, not a size")
    width, heads = config["embed_dim"], config["num_heads"]
    if width % 16 or width % heads:
        raise CheckpointError(f"an embed_dim of {width} is no multiple of 16 and of {heads} heads")
    widths = arch.get("mlp_in", [width // 8, width // 2, width, 2 * width, width])
    if (
        not isinstance(widths, list)
        or any(type(size) is not int or size < 4 or size % 4 for size in widths)
        or widths[-1:] != [width]
    ):
        raise CheckpointError(
            f"the configuration's mlp_in is {widths!r}, not multiples of 4 that end in {width}"
        )
    return config | {"mlp_in": widths}
