"""Parity cases: folders with a small checkpoint, an input, and the expected outputs.

``GEOBENTO_PARITY=DIR pytest tests/parity`` runs any directory of cases. A case has ``config.json``
(model, variant, arch, checkpoint), the checkpoint, ``input.npz``, and ``expected.npz`` with what
the reference implementation gives.
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
from PIL import Image

from geobento.schemas.errors import ModelNotFound
from geobento.schemas.sample import Sample
from inference.engines.torch import TorchModel
from models.base import Model
from models.registry import get_model_class
from models.types import Inputs
from tests.conftest import SHARED

DIRECTORY = Path(os.environ.get("GEOBENTO_PARITY", SHARED / "parity"))

INPUT_TOLERANCE = 1e-5
OUTPUT_TOLERANCE = 1e-4
ROUNDING = 1e-6
"""Relative tolerance for features of several hundred, where float32 leaves this open: the
reference implementation differs as much on another processor or with another convolution."""


class Case:
    """One folder: inputs and expected outputs."""

    def __init__(self, folder: Path) -> None:
        self.record: dict[str, Any] = read_record(folder)
        try:
            self.cls: type[Model] = get_model_class(self.record["model"])
        except ModelNotFound:
            pytest.skip(f"no model {self.record['model']!r} in the registry")
        if self.record["checkpoint"] is None:
            pytest.skip("a precomputed product has no weights and a test of its own")
        self.inputs = np.load(folder / "input.npz")
        self.expected = np.load(folder / "expected.npz")
        self.tensors = self.cls.checkpoint.read(folder / self.record["checkpoint"])

    def loaded(self) -> TorchModel:
        """The model with the case's weights, converted as at import."""
        variant = self.record["variant"].split(" ")[0].replace("-", "_")
        config, tensors = self.cls.convert(self.tensors, self.record, variant)
        model = self.cls(config)
        network = model.network()
        network.load_state_dict(tensors, strict=True)
        return TorchModel(model, network)

    def prepared(self, model: Model, preprocessing: str | None = None) -> Inputs:
        """The case's raw input, prepared like that of a request.

        A model whose cases hold more than one image has a module of its name in
        `tests.parity.reading`, with `prepared(model, arrays, record)`.
        """
        if (reading := reading_of(self.record["model"])) is not None:
            return reading.prepared(model, self.inputs, self.record)  # type: ignore[no-any-return]
        if "rgb_u8" in self.inputs:
            return model.prepare_image(Image.fromarray(self.inputs["rgb_u8"]), preprocessing)
        image = self.inputs["image"]
        if image.dtype == np.uint8 and len(image) == 3:
            return model.prepare_image(Image.fromarray(image.transpose(1, 2, 0)))
        candidates = [
            (name, spec)
            for name, spec in model.card.modalities.items()
            if len(spec.sensor.bands) == image.shape[-3]
        ]
        assert len(candidates) == 1, "the case's image fits no modality, or several"
        ((name, spec),) = candidates
        return model.prepare(Sample(image, spec.sensor.bands, name))

    def padding_id(self) -> int:
        """The id that fills up texts: as the case shows it, else the card's.

        The last id of the text with the longest run of equal ids at its end is padding, where
        that run is longer than the end token itself.
        """
        assert self.cls.card.text is not None
        runs = []
        for ids in self.inputs["text_ids"]:
            differing = np.flatnonzero(ids != ids[-1])
            runs.append((len(ids) - (differing[-1] + 1 if len(differing) else 0), int(ids[-1])))
        length, last = max(runs)
        return last if length > 1 else self.cls.card.text.pad


def read_record(folder: Path) -> dict[str, Any]:
    """The configuration of a case."""
    record: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return record


def reading_of(model_id: str) -> Any:
    """How the cases of a model are read, if not like all others."""
    name = f"tests.parity.reading.{model_id}"
    return import_module(name) if find_spec(name) is not None else None


CASES = sorted(path.parent for path in DIRECTORY.glob("*/config.json"))


def cases_of(model_id: str, expected: str | None = None, given: str | None = None) -> list[Any]:
    """The cases of a model as parameters; one that is skipped where there are none.

    Args:
        model_id: Model; empty: any.
        expected: Array that a case has to expect.
        given: Array that a case has to give.
    """
    folders = []
    for folder in CASES:
        if model_id and read_record(folder)["model"] != model_id:
            continue
        files = ((expected, "expected.npz"), (given, "input.npz"))
        if all(name is None or name in np.load(folder / file) for name, file in files):
            folders.append(pytest.param(folder, id=folder.name))
    none = pytest.mark.skip(f"no such case in {DIRECTORY.name}")
    return folders or [pytest.param(Path(), marks=none)]
