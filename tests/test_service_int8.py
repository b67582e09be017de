"""Precision of the deployed service: the setting, and what answers report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geobento.schemas import serialization
from geobento.schemas.embedding import Embedding
from inference import devices, precision
from inference.loading import load_model, model_precision
from inference.types import EncodeItem
from tests.conftest import ROOT
from tests.servers import serving

pytest.importorskip("transformers")

from models.clip.openai import Clip
from models.dinov2.model import DinoV2
from pipeline.inputs import images
from tests.models import small

FIELD = (ROOT / "tests" / "data" / "field.jpg").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not devices.has_int8_hardware("cpu"), reason="the processor does not")
def test_int8_where_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with large layers computes in it; of another one the log says what it does."""
    sizes: dict[str, Any] = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
    monkeypatch.setattr(small, "SIZES", small.SIZES | {DinoV2: sizes})
    large, none = small.stored(DinoV2), small.stored(Clip)
    assert large.calibration["int8"]["cosine"] >= precision.MIN_COSINE
    models = f"{large.tag},{none.tag}"
    log = tmp_path / "log"
    with serving(log, GEOBENTO_MODELS=models, GEOBENTO_PRECISION="int8") as client:
        result = {}
        for name in (DinoV2.card.id, Clip.card.id):
            files = [("images", FIELD)]
            answer = client.post("/image_embedding", data={"model": name}, files=files)
            assert answer.status_code == 200, answer.text
            (result[name],) = serialization.decode_embeddings(answer.content)
    rounded, other = result[DinoV2.card.id], result[Clip.card.id]
    assert isinstance(rounded, Embedding)
    assert isinstance(other, Embedding)
    assert rounded.meta.precision == "int8"
    assert other.meta.precision == model_precision(none, "auto", "cpu")
    lines = [line for line in log.read_text().splitlines() if "GEOBENTO_PRECISION" in line]
    assert len(lines) == 1
    assert f"{none.tag} computes in {other.meta.precision}" in lines[0]
    loaded = load_model(large)
    inputs = loaded.model.prepare_image(images.decode_image(FIELD, 64))
    (exact,) = loaded.run([EncodeItem(inputs=inputs, pooling="native")])
    cosine = rounded.data @ exact.data / np.linalg.norm(rounded.data) / np.linalg.norm(exact.data)
    assert precision.MIN_COSINE - 1e-3 < cosine < 1 - 1e-9
