"""Weights in the layout of the transformers library: the same model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

from benchmarks.comparison import layout
from benchmarks.synthetic_images import make_jpegs
from inference.engine import LoadedModel
from inference.loading import load_model
from inference.types import EncodeItem
from models.clip.remoteclip import RemoteClip
from models.optional_import import optional_import
from models.preprocessing.text import TokenizedText
from models.types import Inputs
from pipeline.inputs import images
from tests.models import small


def network(folder: Path) -> Any:
    return optional_import("transformers").CLIPModel.from_pretrained(folder).eval()


def standardised(inputs: Inputs) -> torch.Tensor:
    """Pixels (1, 3, H, W) of ours as a peer's network takes them."""
    spec = RemoteClip.card.image
    assert spec is not None
    pixels = (inputs["image"] / 255 - spec.mean) / spec.std
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()


def test_a_peer_computes_the_same_vectors(tmp_path: Path) -> None:
    """What is compared is servers: network and weights of the peers are those of ours."""
    stored = small.stored(RemoteClip)
    clip, loaded = network(layout.write_model(stored, tmp_path)), load_model(stored)
    inputs = loaded.model.prepare_image(images.decode_image(make_jpegs((300, 240), 1)[0], 64))
    with torch.inference_mode():
        seen = clip.vision_model(pixel_values=standardised(inputs)).pooler_output
        vector = clip.visual_projection(seen)[0].numpy()
    ours = vector_of(loaded, EncodeItem(inputs=inputs, pooling="native"))
    np.testing.assert_allclose(vector / np.linalg.norm(vector), ours, atol=1e-5)


def test_a_peer_sees_the_same_pixels(tmp_path: Path) -> None:
    """Size, filter, crop, mean and deviation of the peers' processor are those of the card."""
    stored = small.stored(RemoteClip)
    folder = layout.write_model(stored, tmp_path)
    (encoded,) = make_jpegs((300, 240), 1)
    processor = optional_import("transformers").AutoImageProcessor.from_pretrained(folder)
    seen = processor(images=Image.open(io.BytesIO(encoded)), return_tensors="pt")["pixel_values"]
    ours = standardised(stored.model().prepare_image(images.decode_image(encoded, 64)))
    np.testing.assert_allclose(seen.numpy(), ours.numpy(), atol=0.016)  # a step of 256 is 0.015


def test_the_text_tower_is_the_same_too(tmp_path: Path) -> None:
    """The folder is a whole CLIP, as a server that loads both towers wants it."""
    stored = small.stored(RemoteClip)
    clip = network(layout.write_model(stored, tmp_path))
    spec = RemoteClip.card.text
    assert spec is not None
    ids = np.array([spec.begin, 100, 200, spec.end], np.int64)
    with torch.inference_mode():
        read = clip.text_model(torch.from_numpy(ids)[None]).pooler_output
        vector = clip.text_projection(read)[0].numpy()
    inputs = TokenizedText(ids, len(ids), truncated=False).to_inputs(spec)
    ours = vector_of(load_model(stored), EncodeItem(inputs=inputs, pooling="native"))
    np.testing.assert_allclose(vector / np.linalg.norm(vector), ours, atol=1e-5)


def vector_of(loaded: LoadedModel, item: EncodeItem) -> np.ndarray[Any, Any]:
    (result,) = loaded.run([item])
    assert result.error is None
    vector: np.ndarray[Any, Any] = result.data / np.linalg.norm(result.data)
    return vector


def test_every_weight_gets_a_name_that_the_library_knows(tmp_path: Path) -> None:
    """A weight under a wrong name would be drawn anew, and the peer serve another model."""
    folder = layout.write_model(small.stored(RemoteClip), tmp_path)
    transformers = optional_import("transformers")
    _, report = transformers.CLIPModel.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    """The weights are not written anew for every run."""
    stored = small.stored(RemoteClip)
    folder = layout.write_model(stored, tmp_path)
    (folder / "mark").touch()
    assert (layout.write_model(stored, tmp_path) / "mark").exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert json.loads((folder / "config.json").read_text())["model_type"] == "clip"


def test_other_networks_are_refused() -> None:
    """A residual network has no equivalent in that layout, and is not written under wrong names."""
    with pytest.raises(ValueError, match=r"visual\.layer1"):
        layout.convert_tensors({"visual.layer1.0.conv1.weight": torch.zeros(1)})
