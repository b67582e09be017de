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

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import PixelGrid, Sample, mid_time
from models.base import Model
from models.galileo.card import (
    CARD,
    DEFAULT_MONTH,
    DEFAULT_PATCH_SIZE,
    DEFAULT_RESOLUTION_M,
    MAP_MODALITIES,
    MAX_TOKENS,
    PRIMARY_MODALITIES,
    S2_BANDS,
    SERIES_MODALITIES,
    TOKENS_PER_PATCH,
)
from models.preprocessing.pixels import normalized
from models.preprocessing.radar import power_to_db
from models.preprocessing.resampling import resize
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.checkpoints import CheckpointError, require_state_dict
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch

    from models.galileo.network import GalileoTokens

ARCHITECTURES = {"nano": (128, 4, 8), "tiny": (192, 12, 3), "base": (768, 12, 12)}
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
        return PRIMARY_MODALITIES

    def prepare(self, sample: Sample) -> Inputs:
        """Scale all inputs by the statistics of the training data, and say when and how large.

        Returns:
            `s2` (T, 10, H, W), `ndvi` (T, 1, H, W), `s1` (T, 2, H, W) decibels, scaled; maps
            (C, H, W), `*_static` (C,), series (T, C), `landscan` (1,), `location` (3,) as far as
            they are given; `months` (T,) 0 to 11; `resolution_um` (2,) ground height and width
            of a pixel, micrometres; `patch_size` ().
        """
        patch = self._patch_size()
        parts = self._collect_inputs(sample)
        frames, _, height, width = parts[sample.modality].pixels.shape
        shape = _patch_aligned_shape(height, width, patch)
        self._check_token_count(parts, frames, shape[0] * shape[1] // patch**2)
        inputs: Inputs = {}
        for name, part in parts.items():
            is_map = name in (*PRIMARY_MODALITIES, *MAP_MODALITIES)
            read = replace(part, pixels=power_to_db(part.pixels, CARD.id)) if name == "s1" else part
            values = normalized(read, CARD, min_pixels=patch if is_map else 1)
            inputs[name] = resize(values, shape, "bilinear") if is_map else values[..., 0, 0]
            if name == "s2":
                inputs["ndvi"] = resize(_ndvi(part.pixels), shape, "bilinear")
            if name in ("dynamic_world", "worldcereal"):
                inputs[f"{name}_static"] = values.mean(axis=(1, 2))
        if self._typed_option("location", bool, False):
            inputs["location"] = _unit_sphere_point(sample.grid)
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
        from models.galileo import network as galileo_network

        return galileo_network.GalileoEncoder(
            dim=self.dim,
            depth=self.config["depth"],
            num_heads=self.config["num_heads"],
            mlp_ratio=self.config["mlp_ratio"],
            max_patch_size=self.config["max_patch_size"],
            max_frames=self.config["max_sequence_length"],
        )

    def encode_tokens(
        self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> GalileoTokens:
        """All tokens after the final norm."""
        resolution_m = batch["resolution_um"].double() / 1e6
        found: GalileoTokens = network(
            batch, batch["months"], resolution_m, int(batch["patch_size"][0])
        )
        return found

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Mean tokens of the patches, and the mean over all tokens as the vector."""
        tokens = self.encode_tokens(network, batch)
        patches = tokens.patch_means()
        height, width = patches.shape[1:3]
        return Encoded(
            tokens=patches.flatten(1, 2),
            grid_shape=(height, width),
            vector=tokens.sequence().mean(dim=1),
        )

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        width, depth, heads = ARCHITECTURES[variant]
        return _build_config({"embedding_size": width, "depth": depth, "num_heads": heads})

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The authors' `encoder.pt`, with the `config.json` beside it or the variant's sizes."""
        arch = _encoder_config(checkpoint_config)
        config = _build_config(arch) if arch else cls.default_config(variant)
        sizes = config["embedding_size"], config["depth"], config["num_heads"]
        for other, released in ARCHITECTURES.items():
            if sizes == released and variant in ARCHITECTURES and other != variant:
                raise CheckpointError(f"the configuration is that of {other}, not of {variant}")
        named = {name.replace(".backbone", ""): tensor for name, tensor in checkpoint.items()}
        require_state_dict(
            named, on_meta(cls(config).network).state_dict(), "checkpoint of Galileo"
        )
        return config, named

    def _typed_option(self, name: str, expected_type: type, default: Any) -> Any:
        value = self.options.get(name, default)
        if type(value) is not expected_type:
            raise ModelError(
                f"{name} is {value!r}; accepted: {expected_type.__name__}",
                field=f"model_config.{name}",
            )
        return value

    def _patch_size(self) -> int:
        patch: int = self._typed_option("patch_size", int, DEFAULT_PATCH_SIZE)
        largest = self.config["max_patch_size"]
        if not 1 <= patch <= largest:
            raise ModelError(
                f"patch_size is {patch}; accepted: 1 to {largest}", field="model_config.patch_size"
            )
        return patch

    def _collect_inputs(self, sample: Sample) -> dict[str, Sample]:
        """All inputs by name, images as series of one; their shapes fit each other."""
        parts = {sample.modality: sample, **sample.extras}
        if unknown := sorted(set(parts) - set(CARD.modalities)):
            raise ModelError(
                f"{CARD.id} does not read {unknown[0]!r}; accepted: {', '.join(CARD.modalities)}",
                field="modality",
            )
        if sample.modality not in PRIMARY_MODALITIES:
            raise ModelError(
                f"{CARD.id} reads {sample.modality!r} only as a further input of "
                f"{' or '.join(PRIMARY_MODALITIES)}",
                field="modality",
            )
        parts = {name: _complete_input(name, part) for name, part in parts.items()}
        frames, _, height, width = parts[sample.modality].pixels.shape
        for name, part in parts.items():
            shape = _expected_shape(name, frames, height, width)
            if part.pixels.shape != shape:
                raise ModelError(
                    f"{name} has shape {part.pixels.shape}, expected {shape}", field="sensor"
                )
        return parts

    def _check_token_count(self, modalities: Iterable[str], frames: int, patches: int) -> None:
        """Check the number of frames, and of the tokens of the maps over time."""
        longest = self.config["max_sequence_length"]
        if frames > longest:
            raise ModelError(
                f"{CARD.id} reads up to {longest} frames, got {frames}", field="temporal"
            )
        tokens = (
            frames
            * patches
            * sum(TOKENS_PER_PATCH[name] for name in modalities if name in PRIMARY_MODALITIES)
        )
        if tokens > MAX_TOKENS:
            raise ModelError(
                f"the place gives {tokens:,} tokens, {CARD.id} takes up to {MAX_TOKENS:,}; take a "
                "smaller place, a larger scale_m or patch_size, fewer frames or input_prep 'tile'",
                field="spatial",
                detail={"tokens": tokens, "limit": MAX_TOKENS},
            )


def _complete_input(name: str, sample: Sample) -> Sample:
    """An input with all the axes and values that the network's has.

    One image is a series of one. Of what is not a map there is the mean over the place, with which
    the authors fill gaps of maps, too.
    """
    if name in (*PRIMARY_MODALITIES, *SERIES_MODALITIES) and sample.pixels.ndim == 3:
        valid = None if sample.valid is None else sample.valid[None]
        sample = replace(sample, pixels=sample.pixels[None], valid=valid)
    if name in PRIMARY_MODALITIES:
        return sample
    seen = np.ones_like(sample.pixels[..., 0, :, :], bool) if sample.valid is None else sample.valid
    seen = seen[..., None, :, :]
    total = np.where(seen, sample.pixels, 0).sum(axis=(-2, -1), keepdims=True, dtype=np.float64)
    mean = total / np.maximum(seen.sum(axis=(-2, -1), keepdims=True), 1)
    pixels = np.where(seen, sample.pixels, mean) if name in MAP_MODALITIES else mean
    return replace(sample, pixels=pixels.astype(np.float32), valid=None)


def _expected_shape(name: str, frames: int, height: int, width: int) -> tuple[int, ...]:
    """The shape of an input that goes with `frames` maps of `height` x `width` pixels."""
    bands = len(CARD.modalities[name].sensor.bands)
    if name in PRIMARY_MODALITIES:
        return frames, bands, height, width
    if name in MAP_MODALITIES:
        return bands, height, width
    return (frames, bands, 1, 1) if name in SERIES_MODALITIES else (bands, 1, 1)


def _patch_aligned_shape(height: int, width: int, patch_size: int) -> tuple[int, int]:
    """The nearest sides that are multiples of the patch."""
    rows, columns = (max(1, math.floor(side / patch_size + 0.5)) for side in (height, width))
    return rows * patch_size, columns * patch_size


def _ndvi(digital_numbers: NDArray[Any]) -> NDArray[np.float32]:
    """NDVI (T, 1, H, W) of unscaled Sentinel-2 bands; 0 where there is no light."""
    red, near_infrared = (
        digital_numbers[:, S2_BANDS.index(band), None].astype(np.float32) for band in ("B4", "B8")
    )
    total = near_infrared + red
    index: NDArray[np.float32] = np.zeros_like(total)
    np.divide(near_infrared - red, total, out=index, where=total > 0)
    return index


def _months(times: Sequence[datetime], frames: int, *, one_image: bool) -> NDArray[np.int64]:
    """Months (T,), 0 to 11; those of one image are that of the middle of its scenes' times."""
    if not times:
        return np.full(frames, DEFAULT_MONTH, np.int64)
    if one_image:
        times = [mid_time(times)]
    if len(times) != frames:
        raise ModelError(f"there are {frames} frames but {len(times)} times", field="temporal")
    return np.asarray([time.month - 1 for time in times], np.int64)


def _resolution_um(sample: Sample, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Ground height and width of a pixel after a resize to `shape`, micrometres.

    Whole numbers, because the number format of a forward pass may round others.
    """
    across, down = (DEFAULT_RESOLUTION_M,) * 2 if sample.grid is None else sample.grid.resolution
    height, width = sample.pixels.shape[-2:]
    metres = np.asarray([down * height / shape[0], across * width / shape[1]])
    return np.rint(metres * 1e6).astype(np.int64)


def _unit_sphere_point(grid: PixelGrid | None) -> NDArray[np.float32]:
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


def _encoder_config(checkpoint_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The encoder's sizes in a configuration; empty where it states none.

    The authors' file has them under `model.encoder`.
    """
    found = checkpoint_config.get("arch", checkpoint_config.get("model", {}))
    if isinstance(found, Mapping):
        found = found.get("encoder", found)
    if not isinstance(found, Mapping):
        raise CheckpointError("the configuration's model.encoder is not an object")
    return found


def _build_config(arch: Mapping[str, Any]) -> Config:
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
