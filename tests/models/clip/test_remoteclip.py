"""RemoteCLIP: files, activations, regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")  # comes with the same extra as open_clip

from geobento.schemas.sample import Sample
from inference import pooling
from inference.engines.torch import TorchModel
from inference.types import EncodeItem
from models.checkpoints.files import CheckpointError
from models.clip.remoteclip import RemoteClip
from models.types import Inputs, Tensors

CARD = RemoteClip.card

SMALL: dict[str, dict[str, Any]] = {
    "vit_b_32": {"width": 32, "layers": 2, "head_width": 16},
    "vit_l_14": {"width": 32, "layers": 1, "head_width": 16},
    "rn50": {"width": 8, "layers": [1, 1, 1, 1]},
}
VARIANTS = pytest.mark.parametrize("variant", list(SMALL))


def released_file(variant: str) -> tuple[Tensors, dict[str, Any]]:
    """A small network's file with the configuration that belongs to it."""
    arch = {
        "embed_dim": 20,
        "vision_cfg": SMALL[variant],
        "text_cfg": {"width": 16, "heads": 2, "layers": 1, "vocab_size": 300},
    }
    config = RemoteClip.default_config(variant)
    config["embed_dim"] = 20
    config["vision"] |= SMALL[variant]
    config["text"] |= arch["text_cfg"]
    return RemoteClip.seeded_state_dict(config), {"arch": arch}


def loaded(variant: str, **options: Any) -> TorchModel:
    tensors, record = released_file(variant)
    record["arch"] |= options
    config, converted = RemoteClip.convert(tensors, record, variant)
    model = RemoteClip(config)
    network = model.network()
    network.load_state_dict(converted, strict=True)
    return TorchModel(model, network)


def region(model: RemoteClip | Any, height: int, width: int, seed: int = 0) -> Inputs:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 3000, (3, height, width)).astype(np.float32)
    inputs: Inputs = model.prepare(Sample(pixels, ("B4", "B3", "B2"), "s2_rgb"))
    return inputs


@VARIANTS
def test_released_sizes(variant: str) -> None:
    """Every released network has the parameters and the length of vectors that the card states."""
    model = RemoteClip(RemoteClip.default_config(variant))
    with torch.device("meta"):
        network = model.network()
    stated = CARD.variants[variant]
    assert sum(parameter.numel() for parameter in network.parameters()) == stated.parameters
    assert model.dim == stated.dim


@VARIANTS
def test_a_released_file(variant: str) -> None:
    """Names stay as they are; a copy that wraps the network is the same."""
    tensors, record = released_file(variant)
    tensors["logit_scale"] = torch.tensor(4.5)
    config, converted = RemoteClip.convert(tensors, record, variant)
    assert config["logit_scale"] == pytest.approx(4.5)
    wrapped = {f"model.{name}": tensor for name, tensor in tensors.items()}
    again, unwrapped = RemoteClip.convert(wrapped, record, variant)
    assert again == config
    assert all(torch.equal(unwrapped[name], tensor) for name, tensor in converted.items())


def test_files_that_do_not_fit() -> None:
    """Another variant's, another model's, one with a key too few, too many, or of another shape."""
    tensors, record = released_file("vit_b_32")
    with pytest.raises(CheckpointError, match="variant 'vit_b_32', not 'rn50'"):
        RemoteClip.convert(tensors, record, "rn50")
    with pytest.raises(CheckpointError, match=r"missing .* more; unexpected cls_token"):
        RemoteClip.convert({"cls_token": torch.zeros(1)}, record, "vit_b_32")
    without = {name: tensor for name, tensor in tensors.items() if name != "visual.proj"}
    with pytest.raises(CheckpointError, match=r"missing visual\.proj$"):
        RemoteClip.convert(without, record, "vit_b_32")
    with pytest.raises(CheckpointError, match="unexpected mask_token"):
        RemoteClip.convert(tensors | {"mask_token": torch.zeros(1)}, record, "vit_b_32")
    with pytest.raises(CheckpointError, match=r"visual\.proj has shape"):
        RemoteClip.convert(tensors | {"visual.proj": torch.zeros(2, 2)}, record, "vit_b_32")
    with pytest.raises(CheckpointError, match=r"missing transformer\.resblocks\.1"):
        RemoteClip.convert(tensors, {}, "vit_b_32")


def test_the_activation_is_a_setting() -> None:
    """CLIP's approximation of the GELU is taken where the configuration says so."""
    exact, quick = loaded("vit_b_32"), loaded("vit_b_32", quick_gelu=True)
    inputs = exact.model.example_inputs("image")
    first, second = (pooling.pool(one.encode([inputs]), "native") for one in (exact, quick))
    assert not torch.allclose(first, second, atol=1e-4)


@VARIANTS
def test_vectors_do_not_depend_on_the_batch(variant: str) -> None:
    """Regions of any shape and images share a batch; each gives what it gives alone."""
    one = loaded(variant)
    inputs = [
        region(one.model, 20, 90, seed=1),
        one.model.example_inputs("image", side=300),
        region(one.model, 300, 250, seed=2),
        region(one.model, 64, 64, seed=3),
    ]
    items = [EncodeItem(inputs=one_of_them, pooling="native") for one_of_them in inputs]
    for item, together in zip(items, one.run(items), strict=True):
        assert together.data.shape == (20,)
        (alone,) = one.run([item])
        np.testing.assert_allclose(together.data, alone.data, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "shape"),
    [("vit_b_32", (32, 7, 7)), ("vit_l_14", (32, 16, 16)), ("rn50", (256, 7, 7))],
)
def test_grids(variant: str, shape: tuple[int, int, int]) -> None:
    """A cell for each patch, or for each cell of the last map."""
    one = loaded(variant)
    (result,) = one.run([EncodeItem(inputs=region(one.model, 50, 70), pooling=None)])
    assert result.data.shape == shape
