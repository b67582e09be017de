"""Running a model on a list of items: grouped, batched, one result or error per item."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from geobento.schemas.errors import GeoBentoError, InternalError
from inference import cpu_pool, devices, pooling
from inference.pooling import Pooling
from inference.precision import Precision
from models.base import Model
from models.types import Encoded, Inputs

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("geobento.models")


class EncodeItem(BaseModel):
    """Prepared inputs of one sample and what is wanted of them."""

    model_config = ConfigDict(frozen=True)

    inputs: dict[str, Any]
    """Arrays by input name, no batch axis."""
    pooling: Pooling | None
    """How to make one vector; None: the whole grid."""
    preprocessing: str | None = None
    """How pictures are brought to the network; None: as the authors do."""
    sent_at: float | None = None
    """Clock time at which it was sent to a runner, seconds since 1970."""
    deadline: float | None = None
    """Clock time after which nobody waits for it, seconds since 1970."""
    request_id: str | None = None
    """Id of the request that it is of, for the log."""


class EncodeResult(BaseModel):
    """What became of one item."""

    model_config = ConfigDict(frozen=True)

    data: Any = None
    """float32 array (D,) or (D, h, w); NaN in grid cells that there are no data for."""
    pixel_margin: float = 0.0
    """Input pixels at every side that the grid does not cover."""
    num_prefix_tokens: int = 0
    """Tokens that the network has before those of the grid."""
    error: dict[str, Any] | None = None
    """Body of the error, where the item failed."""
    queue_s: float = 0.0
    """Time between the sending of the item and the forward, seconds."""
    forward_s: float = 0.0
    """Time of the batch that it was in, seconds."""


class LoadedModel:
    """A model with its weights on a device.

    Args:
        model: The model.
        network: Its network, weights filled.
        device: Name of the torch device.
        precision: Number format of weights and forward passes.
    """

    def __init__(
        self,
        model: Model,
        network: torch.nn.Module,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        import torch

        from inference.engines import prepacking
        from inference.engines.quantized_linear import QuantizedLinear
        from inference.precision import base_dtype

        outside = base_dtype(precision, device)
        self.model = model
        self.device = device
        self._dtype: torch.dtype = getattr(torch, outside)
        self._network = network.eval().to(device, self._dtype)
        if device == "cpu":
            prepacking.prepack_layers(self._network, int8=precision == "int8")
        has_int8 = any(isinstance(module, QuantizedLinear) for module in self._network.modules())
        self.precision: Precision = "int8" if has_int8 else outside
        """What it computes in: a network of small layers has nothing for int8."""

    def warm_up(self) -> None:
        """One forward per modality; raises what a request would run into."""
        for modality in self.model.modalities():
            inputs = self.model.example_inputs(modality)
            result = self.run([EncodeItem(inputs=inputs, pooling="native")])[0]
            if result.error is not None:
                raise RuntimeError(f"warm-up of {self.model.card.id} {modality}: {result.error}")

    def run(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """Results in the order of the items; an item that fails does not fail the others."""
        results: dict[int, EncodeResult] = {}
        batches = list(self._batches(items, results))

        def forward(positions: Sequence[int]) -> list[EncodeResult]:
            return self._run_batch([items[position] for position in positions])

        for positions, answers in cpu_pool.get_cpu_pool(self.device).run_batches(forward, batches):
            results.update(zip(positions, answers, strict=True))
        return [results[position] for position in range(len(items))]

    def encode(self, batch: Sequence[Inputs], preprocessing: str | None = None) -> Encoded:
        """One forward for inputs that share a batch key."""
        import torch

        with torch.inference_mode():
            read = {
                name: tensor.to(self._dtype) if tensor.is_floating_point() else tensor
                for name, tensor in self.collate_inputs(batch, preprocessing).items()
            }
            return self.model.encode(self._network, read)

    def collate_inputs(
        self, batch: Sequence[Inputs], preprocessing: str | None = None
    ) -> dict[str, torch.Tensor]:
        """What the network reads of a batch, in float32."""
        import torch

        stacked = {
            name: devices.to_device(
                torch.from_numpy(np.stack([inputs[name] for inputs in batch])), self.device
            )
            for name in batch[0]
        }
        return self.model.collate(stacked, preprocessing)

    def _batches(
        self, items: Sequence[EncodeItem], failures: dict[int, EncodeResult]
    ) -> Iterator[list[int]]:
        """Positions of items that can share a forward; those that fit nowhere go to `failures`."""
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for position, item in enumerate(items):
            try:
                key = self.model.batch_key(item.inputs), item.preprocessing
                groups[key].append(position)
            except Exception as error:
                failures[position] = self._error_result(error, item)
        size = self.model.card.max_batch_size
        for positions in groups.values():
            for start in range(0, len(positions), size):
                yield positions[start : start + size]

    def _run_batch(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        try:
            encoded = self.encode([item.inputs for item in items], items[0].preprocessing)
            return _pool_results(encoded, items)
        except Exception as error:
            if len(items) > 1:
                return [result for item in items for result in self._run_batch([item])]
            return [self._error_result(error, items[0])]

    def _error_result(self, error: Exception, item: EncodeItem) -> EncodeResult:
        if not isinstance(error, GeoBentoError):
            logger.error(
                "request %s: forward of %s failed",
                item.request_id,
                self.model.card.id,
                exc_info=error,
                extra={"request": item.request_id},
            )
            error = InternalError("the model failed on this input; the service log has more")
        return EncodeResult(error=error.body())


def _pool_results(encoded: Encoded, items: Sequence[EncodeItem]) -> list[EncodeResult]:
    computed: dict[Pooling | None, np.ndarray[Any, np.dtype[np.float32]]] = {}
    for wanted in {item.pooling for item in items}:
        tensor = pooling.token_grid(encoded) if wanted is None else pooling.pool(encoded, wanted)
        computed[wanted] = tensor.float().cpu().numpy()
    results = []
    for row, item in enumerate(items):
        data = np.ascontiguousarray(computed[item.pooling][row])
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


def _valid_values(
    data: np.ndarray[Any, np.dtype[np.float32]], encoded: Encoded, row: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What must be finite: all but the grid cells that there are no data for."""
    if encoded.valid is None or data.ndim == 1:
        return data
    return data[:, encoded.valid[row].reshape(encoded.grid_shape).cpu().numpy()]
