"""Loading a stored model onto a device."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError

from geobento.schemas.errors import ModelStoreError
from inference import devices
from inference.cpu_pool import get_cpu_pool
from inference.engine import LoadedModel
from inference.precision import choose_precision
from inference.types import Precision
from models.base import Model
from models.weights.stored_model import StoredModel


def model_device(stored: StoredModel, service_device: str) -> str:
    """The device of a model: that of the service, or the CPU if it has no forward pass.

    Args:
        stored: The model.
        service_device: Result of `devices.resolve_device`.
    """
    return service_device if stored.is_on_the_fly else "cpu"


def model_precision(stored: StoredModel, requested: str, device: str) -> Precision:
    """The precision to run a model in.

    Args:
        stored: The model, with its calibration.
        requested: Value of the setting `precision`.
        device: Device of the forward passes.
    """
    native: set[Precision] = set()
    # The checks may import torch, so only those that decide the request are made.
    if requested in ("auto", "int8") and devices.has_bf16_hardware(device):
        native.add("bfloat16")
    if requested == "int8" and devices.has_int8_hardware(device):
        native.add("int8")
    return choose_precision(requested, stored.card, stored.calibration, native)


def load_model(
    stored: StoredModel, device: str = "cpu", precision: Precision = "float32"
) -> LoadedModel:
    """Load the weights of a model.

    Args:
        stored: The model.
        device: Device of the forward passes.
        precision: Precision of the forward passes.

    Raises:
        ModelStoreError: The weights are missing or damaged, do not fit the network, or were saved
            for another preprocessing than this version has.
    """
    weights = stored.verified_weights()
    model = stored.model()
    return get_cpu_pool(device).on_all_cores(
        lambda: _load_torch(stored.tag, model, weights, device, precision)
    )


def _load_torch(
    tag: str, model: Model, weights: Path, device: str, precision: Precision
) -> LoadedModel:
    # Imported here: the API server chooses precisions, but needs no torch.
    from safetensors.torch import load_file

    from inference.engines.torch import TorchModel

    network = model.network()
    try:
        # Assigned, not copied: on a CPU, the weights stay the file, mapped into memory.
        network.load_state_dict(load_file(weights), strict=True, assign=True)
    except (RuntimeError, SafetensorError) as error:
        raise ModelStoreError(f"the weights of {tag} do not fit: {error}") from error
    return TorchModel(model, network, device, precision)
