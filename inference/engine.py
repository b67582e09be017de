"""The interface of a loaded model, whichever engine runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from inference import batches, cpu_pool
from inference.types import EncodeItem, EncodeResult, Precision
from models.base import Model


class LoadedModel(ABC):
    """A model with its weights on a device.

    An engine implements `encode_items`. Batching, the use of cores and errors are the same for
    every engine.

    Args:
        model: The model.
        device: Device of the forward passes.
        precision: Actual precision of the forward passes.
    """

    def __init__(self, model: Model, device: str, precision: Precision) -> None:
        self.model = model
        self.device = device
        self.precision = precision

    @abstractmethod
    def encode_items(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """One forward pass for items of equal batch key and preprocessing; results in order.

        A failure of the whole pass is raised; an item that alone has no valid result gets an error.
        """

    def run(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """Results in the order of the items; never raises for an item.

        Args:
            items: Any mix of shapes, poolings and preprocessings.
        """
        return batches.run_items(
            items, self.model, self.encode_items, cpu_pool.get_cpu_pool(self.device)
        )

    def warm_up(self) -> None:
        """Run one forward pass per modality.

        Raises:
            RuntimeError: A pass failed, as requests would.
        """
        for modality in self.model.modalities():
            inputs = self.model.example_inputs(modality)
            result = self.run([EncodeItem(inputs=inputs, pooling="native")])[0]
            if result.error is not None:
                raise RuntimeError(f"warm-up of {self.model.card.id} {modality}: {result.error}")
