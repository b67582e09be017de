"""Our numbers against those of the original authors' code, for every case of a directory.

``GEOBENTO_PARITY=DIR pytest tests/parity`` runs any directory of cases. A case is a folder with
``config.json``, the official checkpoint, ``input.npz`` and ``expected.npz``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geobento.errors import ModelNotFound
from geobento.sample import Sample
from models import checkpoints, pooling
from models.base import Model
from models.catalog import family
from models.execute import LoadedModel
from tests.conftest import SHARED

DIRECTORY = Path(os.environ.get("GEOBENTO_PARITY", SHARED / "parity"))
CASES = sorted(path.parent for path in DIRECTORY.glob("*/config.json"))

INPUT_TOLERANCE = 1e-5
OUTPUT_TOLERANCE = 1e-4


class Case:
    """One folder: what goes in, and what has to come out."""

    def __init__(self, folder: Path) -> None:
        self.record: dict[str, Any] = json.loads((folder / "config.json").read_text())
        try:
            self.cls: type[Model] = family(self.record["model"])
        except ModelNotFound:
            pytest.skip(f"no model {self.record['model']!r} in the catalog")
        self.inputs = np.load(folder / "input.npz")
        self.expected = np.load(folder / "expected.npz")
        self.tensors = checkpoints.read(folder / self.record["checkpoint"])

    def loaded(self) -> LoadedModel:
        """The model with the case's weights, through the same door as an import."""
        config, tensors = self.cls.convert(self.tensors, self.record)
        model = self.cls(config)
        network = model.network()
        network.load_state_dict(tensors, strict=True)
        return LoadedModel(model, network)

    def sample(self, model: Model) -> Sample:
        """The case's raw input as the fetch layer would hand it over."""
        image = self.inputs["image"]
        fitting = [
            example
            for example in map(model.example, model.modalities())
            if len(example.bands) == image.shape[-3]
        ]
        assert len(fitting) == 1, "the case's image fits no modality, or several"
        return Sample(image, fitting[0].bands, fitting[0].modality)


@pytest.mark.skipif(not CASES, reason=f"no parity cases in {DIRECTORY.name}")
@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder: Path) -> None:
    """Every stage that a case states is reproduced within the tolerance."""
    case = Case(folder)
    loaded = case.loaded()
    inputs = loaded.model.prepare(case.sample(loaded.model))
    encoded = loaded.encode([inputs])
    stages = {
        "network_input": (next(iter(inputs.values())), INPUT_TOLERANCE),
        "tokens": (encoded.tokens[0].numpy(), OUTPUT_TOLERANCE),
        "grid": (pooling.grid(encoded)[0].numpy(), OUTPUT_TOLERANCE),
        "pooled": (pooling.pooled(encoded, "mean")[0].numpy(), OUTPUT_TOLERANCE),
        "embedding": (pooling.pooled(encoded, "mean")[0].numpy(), OUTPUT_TOLERANCE),
    }
    checked = [stage for stage in stages if stage in case.expected]
    assert "embedding" in checked or "pooled" in checked, "the case states no result"
    for stage in checked:
        ours, tolerance = stages[stage]
        np.testing.assert_allclose(ours, case.expected[stage], rtol=0, atol=tolerance)


@pytest.mark.skipif(not (DIRECTORY / "mosaiks").is_dir(), reason="no mosaiks case")
def test_mosaiks_with_bias() -> None:
    """A bias that is not zero is subtracted from both signs, as in the paper's own code."""
    case = Case(DIRECTORY / "mosaiks")
    if "embedding_bias1" not in case.expected:
        pytest.skip("the case states no features with a bias")
    case.tensors["biases"] = torch.ones_like(case.tensors["biases"])
    loaded = case.loaded()
    encoded = loaded.encode([loaded.model.prepare(case.sample(loaded.model))])
    ours = pooling.pooled(encoded, "mean")[0].numpy()
    np.testing.assert_allclose(
        ours, case.expected["embedding_bias1"], rtol=0, atol=OUTPUT_TOLERANCE
    )
