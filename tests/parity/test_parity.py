"""Our numbers against those of the original authors' code, for every case of a directory.

``GEOBENTO_PARITY=DIR pytest tests/parity`` runs any directory of cases. A case is a folder with
``config.json``, the official checkpoint, ``input.npz`` and ``expected.npz``.
"""

from __future__ import annotations

import json
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from geobento.schemas.errors import ModelNotFound
from geobento.schemas.sample import Sample
from inference import pooling
from inference.engines.torch import TorchModel
from models.base import Model
from models.registry import get_model_class
from models.types import Inputs
from models.weights import checkpoints
from tests.conftest import SHARED

DIRECTORY = Path(os.environ.get("GEOBENTO_PARITY", SHARED / "parity"))
CASES = sorted(path.parent for path in DIRECTORY.glob("*/config.json"))

INPUT_TOLERANCE = 1e-5
OUTPUT_TOLERANCE = 1e-4
ROUNDING = 1e-6
"""Relative: what float32 leaves open in features of several hundreds. The authors' own code, on
another processor or with another convolution, differs by as much."""


class Case:
    """One folder: what goes in, and what has to come out."""

    def __init__(self, folder: Path) -> None:
        self.record: dict[str, Any] = json.loads((folder / "config.json").read_text())
        try:
            self.cls: type[Model] = get_model_class(self.record["model"])
        except ModelNotFound:
            pytest.skip(f"no model {self.record['model']!r} in the catalog")
        if self.record["checkpoint"] is None:
            pytest.skip("a finished product, which has no weights, has a test of its own")
        self.inputs = np.load(folder / "input.npz")
        self.expected = np.load(folder / "expected.npz")
        self.tensors = checkpoints.read_tensors(folder / self.record["checkpoint"])

    def loaded(self) -> TorchModel:
        """The model with the case's weights, through the same door as an import."""
        variant = self.record["variant"].split(" ")[0].replace("-", "_")
        config, tensors = self.cls.convert(self.tensors, self.record, variant)
        model = self.cls(config)
        network = model.network()
        network.load_state_dict(tensors, strict=True)
        return TorchModel(model, network)

    def prepared(self, model: Model, preprocessing: str | None = None) -> Inputs:
        """The case's raw input, prepared as that of a request would be.

        A model whose cases hold more than one image has a module of its name in
        `tests.parity.reading`, with `prepared(model, arrays, record)`.
        """
        if (own := reading_of(self.record["model"])) is not None:
            return own.prepared(model, self.inputs, self.record)  # type: ignore[no-any-return]
        if "rgb_u8" in self.inputs:
            return model.prepare_image(Image.fromarray(self.inputs["rgb_u8"]), preprocessing)
        image = self.inputs["image"]
        if image.dtype == np.uint8 and len(image) == 3:
            return model.prepare_image(Image.fromarray(image.transpose(1, 2, 0)))
        fitting = [
            (name, spec)
            for name, spec in model.card.modalities.items()
            if len(spec.sensor.bands) == image.shape[-3]
        ]
        assert len(fitting) == 1, "the case's image fits no modality, or several"
        ((name, spec),) = fitting
        return model.prepare(Sample(image, spec.sensor.bands, name))


def reading_of(model_id: str) -> Any:
    """How the cases of a model are read, where not as all others."""
    name = f"tests.parity.reading.{model_id}"
    return import_module(name) if find_spec(name) is not None else None


@pytest.mark.skipif(not CASES, reason=f"no parity cases in {DIRECTORY.name}")
@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder: Path) -> None:
    """Every stage that a case states is reproduced within the tolerance."""
    case = Case(folder)
    loaded = case.loaded()
    inputs = case.prepared(loaded.model)
    encoded = loaded.encode([inputs])
    image = loaded.model.card.image
    vector = pooling.pool(encoded, "native")[0].numpy()
    if image is not None and image.normalize:
        vector = vector / np.linalg.norm(vector)
    stages = {
        "network_input": (
            next(iter(loaded.collate_inputs([inputs]).values()))[0].numpy(),
            INPUT_TOLERANCE,
        ),
        "tokens": (encoded.tokens[0].numpy(), OUTPUT_TOLERANCE),
        "grid": (pooling.token_grid(encoded)[0].numpy(), OUTPUT_TOLERANCE),
        "pooled": (pooling.pool(encoded, "mean")[0].numpy(), OUTPUT_TOLERANCE),
        "pooled_mean": (pooling.pool(encoded, "mean")[0].numpy(), OUTPUT_TOLERANCE),
        "image_features": (pooling.pool(encoded, "native")[0].numpy(), OUTPUT_TOLERANCE),
        "embedding": (vector, OUTPUT_TOLERANCE),
    }
    if (own := reading_of(loaded.model.card.id)) is not None and hasattr(own, "stages"):
        # Stages that only this model has, or that its authors name otherwise.
        stages |= own.stages(loaded, inputs, encoded)
    checked = [stage for stage in stages if stage in case.expected]
    assert {"embedding", "pooled", "pooled_mean"} & set(checked), "the case states no result"
    for stage in checked:
        ours, tolerance = stages[stage]
        np.testing.assert_allclose(
            ours, case.expected[stage], rtol=ROUNDING, atol=tolerance, err_msg=stage
        )


@pytest.mark.parametrize(
    "folder",
    [folder for folder in CASES if "text_ids" in np.load(folder / "input.npz")],
    ids=lambda folder: folder.name,
)
def test_texts_of_a_case(folder: Path) -> None:
    """The authors' token ids give the authors' text features, one by one and filled up further."""
    case = Case(folder)
    loaded = case.loaded()
    text = loaded.model.card.text
    assert text is not None
    for position, ids in enumerate(case.inputs["text_ids"]):
        expected = {
            stage: case.expected[stage][position] for stage in ("text_features", "text_embedding")
        }
        for length in (len(ids), text.max_tokens):
            filled = np.full(length, text.pad, np.int64)
            filled[: len(ids)] = ids
            encoded = loaded.encode([{text.modality: filled}])
            features = pooling.pool(encoded, "native")[0].numpy()
            np.testing.assert_allclose(
                features, expected["text_features"], rtol=0, atol=OUTPUT_TOLERANCE
            )
            np.testing.assert_allclose(
                features / np.linalg.norm(features),
                expected["text_embedding"],
                rtol=0,
                atol=OUTPUT_TOLERANCE,
            )


@pytest.mark.parametrize("flavour", ["hub", "transformers"])
def test_dino_as_vitrivr_prepares_pictures(flavour: str) -> None:
    """`config.preprocessing = vitrivr` gives the vectors of an existing vitrivr index."""
    folder = DIRECTORY / f"dino_v2_vits14-{flavour}"
    if not folder.is_dir():
        pytest.skip(f"no case {folder.name}")
    case = Case(folder)
    loaded = case.loaded()
    encoded = loaded.encode([case.prepared(loaded.model, "vitrivr")], "vitrivr")
    vector = pooling.pool(encoded, "native")[0].numpy()
    expected = case.expected["reference_server_embedding"]
    np.testing.assert_allclose(vector, expected, rtol=0, atol=OUTPUT_TOLERANCE)


def test_the_authors_positions_from_the_librarys_file() -> None:
    """Weights from the hub give the authors' own numbers with the variant `hub`."""
    folder = DIRECTORY / "dino_v2_vits14-transformers"
    if not folder.is_dir():
        pytest.skip(f"no case {folder.name}")
    case = Case(folder)
    case.record["variant"] = "hub"
    loaded = case.loaded()
    encoded = loaded.encode([case.prepared(loaded.model)])
    np.testing.assert_allclose(
        encoded.tokens[0].numpy(), case.expected["hub_tokens"], rtol=0, atol=OUTPUT_TOLERANCE
    )


@pytest.mark.skipif(not (DIRECTORY / "mosaiks").is_dir(), reason="no mosaiks case")
def test_mosaiks_with_bias() -> None:
    """A bias that is not zero is subtracted from both signs, as in the paper's own code."""
    case = Case(DIRECTORY / "mosaiks")
    if "embedding_bias1" not in case.expected:
        pytest.skip("the case states no features with a bias")
    case.tensors["biases"] = torch.ones_like(case.tensors["biases"])
    loaded = case.loaded()
    encoded = loaded.encode([case.prepared(loaded.model)])
    ours = pooling.pool(encoded, "mean")[0].numpy()
    np.testing.assert_allclose(
        ours, case.expected["embedding_bias1"], rtol=0, atol=OUTPUT_TOLERANCE
    )
