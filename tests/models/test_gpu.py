"""Forward passes on a GPU; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference import devices
from inference.engines.torch import TorchModel
from inference.precision import MIN_COSINE
from inference.types import EncodeItem, Precision
from models.base import Model
from tests.models import small

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def on(device: str, cls: type[Model], precision: Precision) -> TorchModel:
    """A small model, the same numbers everywhere."""
    model = cls(small.config(cls))
    network = model.network()
    network.load_state_dict(cls.seeded_state_dict(model.config), strict=True)
    return TorchModel(model, network, device, precision)


@pytest.mark.parametrize("cls", small.SIZES, ids=lambda cls: cls.card.id)
def test_the_numbers_are_those_of_the_cpu(cls: type[Model]) -> None:
    """Of every modality, single and in a batch, vectors and grids; bfloat16 as near as promised."""
    device = devices.resolve_device("cuda")
    cpu, gpu, half = (
        on("cpu", cls, "float32"),
        on(device, cls, "float32"),
        on(device, cls, "bfloat16"),
    )
    for modality in cpu.model.modalities():
        inputs = [cpu.model.example_inputs(modality, seed=seed) for seed in range(3)]
        true = small.vectors(cpu, inputs)
        np.testing.assert_allclose(small.vectors(gpu, inputs), true, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(small.vectors(gpu, inputs[:1]), true[:1], atol=1e-4, rtol=1e-4)
        for one, other in zip(small.vectors(half, inputs), true, strict=True):
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            assert cosine >= MIN_COSINE
        grids = [EncodeItem(inputs=each, pooling=None) for each in inputs]
        for ours, reference in zip(gpu.run(grids), cpu.run(grids), strict=True):
            assert ours.error == reference.error
            if reference.error is None:
                np.testing.assert_allclose(ours.data, reference.data, atol=1e-4, rtol=1e-4)


def test_bfloat16_is_taken_and_what_is_sent_arrives() -> None:
    """A GPU multiplies in it; memory that a copy still reads is not written to."""
    assert devices.has_bf16_hardware("cuda")
    sent = [
        devices.to_device(torch.full((256, 256), float(number)), "cuda") for number in range(64)
    ]
    assert [int(tensor.mean().item()) for tensor in sent] == list(range(64))
