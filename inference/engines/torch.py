"""Forward passes with torch, on CPUs and GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geobento.schemas.errors import InternalError
from inference import devices, pooling
from inference.engine import LoadedModel
from inference.engines import prepacking
from inference.engines.quantized_linear import QuantizedLinear
from inference.types import EncodeItem, EncodeResult, Pooling, Precision
from models.base import Model
from models.types import Encoded, Inputs


class TorchModel(LoadedModel):
    """A model whose network runs in torch.

    Args:
        model: The model.
        network: Its network, weights filled.
        device: Name of the torch device.
        precision: Requested precision.

    Attributes:
        precision: Actual precision: without large linear layers, nothing is computed in int8.
    """

    def __init__(
        self,
        model: Model,
        network: torch.nn.Module,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        base = _base_precision(precision, device)
        self._dtype: torch.dtype = getattr(torch, base)
        self._network = network.eval().to(device, self._dtype)
        if device == "cpu":
            prepacking.prepack_layers(self._network, int8=precision == "int8")
        has_int8 = any(isinstance(module, QuantizedLinear) for module in self._network.modules())
        super().__init__(model, device, "int8" if has_int8 else base)

    def encode(self, batch: Sequence[Inputs], preprocessing: str | None = None) -> Encoded:
        """One forward pass for inputs of equal batch key."""
        with torch.inference_mode():
            tensors = {
                name: tensor.to(self._dtype) if tensor.is_floating_point() else tensor
                for name, tensor in self.collate_inputs(batch, preprocessing).items()
            }
            return self.model.encode(self._network, tensors)

    def encode_items(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """One forward pass for items of equal batch key and preprocessing; results in order."""
        encoded = self.encode([item.inputs for item in items], items[0].preprocessing)
        return _make_results(encoded, [item.pooling for item in items])

    def collate_inputs(
        self, batch: Sequence[Inputs], preprocessing: str | None = None
    ) -> dict[str, torch.Tensor]:
        """Inputs of the network for a batch, in float32."""
        stacked = {
            name: devices.to_device(
                torch.from_numpy(np.stack([inputs[name] for inputs in batch])), self.device
            )
            for name in batch[0]
        }
        return self.model.collate(stacked, preprocessing)


def _base_precision(precision: Precision, device: str) -> Precision:
    """Precision of all layers but the quantized ones."""
    if precision == "int8":
        return "bfloat16" if devices.has_bf16_hardware(device) else "float32"
    return precision


def _make_results(encoded: Encoded, poolings: Sequence[Pooling | None]) -> list[EncodeResult]:
    """Pool the output of a batch; each row by a pooling of its own, None for the grid."""
    arrays: dict[Pooling | None, NDArray[np.float32]] = {}
    for way in set(poolings):
        tensor = pooling.token_grid(encoded) if way is None else pooling.pool(encoded, way)
        arrays[way] = tensor.float().cpu().numpy()
    results = []
    for row, way in enumerate(poolings):
        data = np.ascontiguousarray(arrays[way][row])
        if np.isfinite(_valid_values(data, encoded, row)).all():
            results.append(
                EncodeResult(
                    data=data,
                    pixel_margin=encoded.pixel_margin,
                    num_prefix_tokens=encoded.num_prefix_tokens,
                )
            )
        else:
            error = InternalError("the model answered with values that are not finite")
            results.append(EncodeResult(error=error.body()))
    return results


def _valid_values(data: NDArray[np.float32], encoded: Encoded, row: int) -> NDArray[Any]:
    """Values that have to be finite: all but grid cells without data."""
    if encoded.valid is None or data.ndim == 1:
        return data
    return data[:, encoded.valid[row].reshape(encoded.grid_shape).cpu().numpy()]
