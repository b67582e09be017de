"""How the cases of Galileo are read: many inputs, four tensors, and their masks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyproj import Transformer

from geobento.schemas.sample import PixelGrid, Sample
from inference.engines.torch import TorchModel
from models.base import Model
from models.galileo.card import CARD
from models.galileo.tokens import (
    SPACE_GROUPS,
    SPACE_TIME_GROUPS,
    STATIC_GROUPS,
    TIME_GROUPS,
    ChannelGroups,
)
from models.types import Encoded, Inputs

UTM = "EPSG:32632"
INPUT_TOLERANCE = 1e-5
OUTPUT_TOLERANCE = 1e-4
AUXILIARY = ("srtm", "dynamic_world", "worldcereal", "era5", "terraclimate", "viirs", "landscan")


def prepared(model: Model, arrays: Mapping[str, Any], record: Mapping[str, Any]) -> Inputs:
    """The case's arrays as samples of one region; decibels become linear power again."""
    extras = {name: _auxiliary(name, arrays[name]) for name in AUXILIARY if name in arrays}
    if "image__s1" in arrays:
        power = 10 ** (arrays["image__s1"].astype(np.float64) / 10)
        extras["s1"] = Sample(power, CARD.modalities["s1"].sensor.bands, "s1")
    options: dict[str, Any] = {"patch_size": record["patch_size"]}
    if "use_location" in arrays:
        options["location"] = bool(arrays["use_location"])
    times = [datetime.fromisoformat(str(day)).replace(tzinfo=UTC) for day in arrays["dates_iso"]]
    assert [time.month - 1 for time in times] == arrays["months"].tolist()
    image = arrays["image"]
    sample = Sample(
        image,
        CARD.modalities["s2"].sensor.bands,
        "s2",
        grid=_grid(arrays, image.shape[-1]),
        times=tuple(times),
        extras=extras,
    )
    return model.with_options(options).prepare(sample)


def stages(
    loaded: TorchModel, inputs: Inputs, encoded: Encoded
) -> dict[str, tuple[NDArray[Any], float]]:
    """Tensors of the reference implementation, which hold all groups, and its tokens."""
    network: Any = loaded._network
    with torch.inference_mode():
        batch = loaded.collate_inputs([inputs])
        tokens = loaded.model.encode_tokens(network, batch)  # type: ignore[attr-defined]
    height, width = inputs["s2"].shape[-2:]
    frames = len(inputs["months"])
    tensors = {
        "network_input": _joined(SPACE_TIME_GROUPS, inputs, (frames, height, width), -3),
        "space_x": _joined(SPACE_GROUPS, inputs, (height, width), -3),
        "time_x": _joined(TIME_GROUPS, inputs, (frames,), -1),
        "static_x": _joined(STATIC_GROUPS, inputs, (), -1),
    }
    tensors["network_input"] = tensors["network_input"].transpose(1, 2, 0, 3)
    kinds = {
        "space_time_mask": (SPACE_TIME_GROUPS, (height, width, frames)),
        "space_mask": (SPACE_GROUPS, (height, width)),
        "time_mask": (TIME_GROUPS, (frames,)),
        "static_mask": (STATIC_GROUPS, ()),
    }
    for name, (groups, shape) in kinds.items():
        hidden = [float(source not in inputs) for source, _ in groups.values()]
        tensors[name] = np.broadcast_to(np.asarray(hidden, np.float32), (*shape, len(groups)))
    space_time_tokens = tokens.space_time.new_zeros(
        *tokens.space_time.shape[1:4], len(SPACE_TIME_GROUPS), 1
    )
    # The norm of the reference implementation turns a masked token into its bias.
    space_time_tokens = space_time_tokens + network.norm.bias.detach()
    present = [source in inputs for source, _ in SPACE_TIME_GROUPS.values()]
    space_time_tokens[..., present, :] = tokens.space_time[0]
    assert encoded.vector is not None
    vector = encoded.vector[0].numpy()
    outputs = {
        "tokens": tokens.sequence()[0].numpy(),
        "s_t_tokens": space_time_tokens.numpy(),
        "pooled": vector,
        "pooled_mean": vector,
    }
    return {name: (array, INPUT_TOLERANCE) for name, array in tensors.items()} | {
        name: (array, OUTPUT_TOLERANCE) for name, array in outputs.items()
    }


def _joined(
    groups: ChannelGroups, inputs: Inputs, shape: tuple[int, ...], axis: int
) -> NDArray[np.float32]:
    """All groups of a kind (*shape, C); missing ones as scaled zeros."""
    parts = []
    for source, channels in groups.values():
        if source in inputs:
            part = np.moveaxis(inputs[source], axis, -1)[..., channels]
        else:
            part = np.broadcast_to(_scaled_zeros(source)[channels], (*shape, _count(channels)))
        parts.append(part)
    return np.concatenate(parts, axis=-1)


def _scaled_zeros(source: str) -> NDArray[np.float32]:
    if source not in CARD.modalities:
        return np.zeros(9, np.float32)
    stats = CARD.modalities[source].normalization
    return -np.asarray(stats.offset, np.float32) * np.asarray(stats.scale, np.float32)


def _count(channels: slice) -> int:
    return int(channels.stop - channels.start)


def _auxiliary(name: str, values: NDArray[Any]) -> Sample:
    bands = CARD.modalities[name].sensor.bands
    if values.ndim < 3:
        values = values.reshape(*values.shape[:-1], len(bands), 1, 1)
    return Sample(values, bands, name)


def _grid(arrays: Mapping[str, Any], side: int) -> PixelGrid:
    """A grid with the case's pixel size around its longitude and latitude, if it has some."""
    lon, lat = (float(arrays[name]) if name in arrays else 9.0 for name in ("lon", "lat"))
    x, y = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(lon, lat)
    pixel = float(arrays["gsd"])
    half = pixel * side / 2
    return PixelGrid(UTM, (pixel, 0.0, x - half, 0.0, -pixel, y + half), side, side)
