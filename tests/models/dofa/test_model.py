"""DOFA: bands by wavelength, scales of the training data, the released file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from geobento.schemas.errors import ModelError
from geobento.schemas.options import check_options
from geobento.schemas.sample import Sample
from inference import pooling
from inference.engines.torch import TorchModel
from inference.types import EncodeItem
from models.checkpoints.files import CheckpointError
from models.dofa.model import Dofa
from models.dofa.network import PatchEmbed, encode_wavelengths
from tests.models import small

IGNORED_KEYS = Dofa.checkpoint.drop
S1_BANDS = Dofa.card.modalities["s1"].sensor.bands
S2_BANDS = Dofa.card.modalities["s2"].sensor.bands
S2_WAVELENGTHS_UM = Dofa.card.modalities["s2"].wavelengths_um

SMALL = {"arch": {"embed_dim": 12, "depth": 1, "num_heads": 2, "img_size": 32}}
CONFIG = Dofa.default_config("base") | SMALL["arch"]
DESCRIBED = {"wavelengths_um": [10.9, 0.4], "mean": [290.0, 0.1], "std": [10.0, 0.2]}


def released_file() -> dict[str, torch.Tensor]:
    """A small network as it was released: without `fc_norm`, with parts of the training."""
    tensors = Dofa.seeded_state_dict(CONFIG)
    del tensors["fc_norm.weight"], tensors["fc_norm.bias"]
    return tensors | {name: torch.ones(2) for name in IGNORED_KEYS}


def loaded() -> TorchModel:
    """The small network with its weights."""
    config, tensors = Dofa.convert(released_file(), SMALL, "base")
    network = Dofa(config).network()
    network.load_state_dict(tensors, strict=True)
    return TorchModel(Dofa(config), network)


def sample(bands: tuple[str, ...] = S2_BANDS, modality: str = "s2", seed: int = 0) -> Sample:
    """Noise that is no square."""
    pixels = np.random.default_rng(seed).integers(1, 9000, (len(bands), 40, 50))
    return Sample(pixels.astype(np.float32), bands, modality)


def test_digital_numbers_on_the_training_scale() -> None:
    """Visible bands saturate at a reflectance of 0.3558, the others at 0.816; then z-scores."""
    model = Dofa(CONFIG)
    stats = model.card.modalities["s2"].normalization
    pixels = np.zeros((9, 32, 32), np.float32)
    pixels[:, 0, 0], pixels[:, 0, 1], pixels[:, 0, 2] = 3558, 8160, 20_000
    values = model.prepare(Sample(pixels, S2_BANDS, "s2"))["s2"]
    eight_bit = values * np.array(stats.std)[:, None, None] + np.array(stats.mean)[:, None, None]
    np.testing.assert_allclose(eight_bit[:3, 0, :3], 255, rtol=1e-5)
    np.testing.assert_allclose(eight_bit[3:, 0, :3], [[3558 / 32, 255, 255]] * 6, rtol=1e-5)
    np.testing.assert_allclose(eight_bit[:, 1, 1], 0, atol=1e-4)


def test_power_on_the_training_scale() -> None:
    """Sentinel-1 is its amplitude; power below zero is none."""
    power = np.array([-1.0, 0.01, 4.0], np.float32)
    pixels = np.broadcast_to(power[None, None].repeat(32, 1)[..., :1], (2, 32, 32)).copy()
    pixels[:, 0, :3] = power
    values = Dofa(CONFIG).prepare(Sample(pixels, S1_BANDS, "s1"))["s1"]
    np.testing.assert_allclose(
        values[1, 0, :3] * 43.07350145 + 88.45542715, [0, 60, 255], atol=1e-4
    )


def test_a_choice_of_bands() -> None:
    """Each band keeps its statistics and its wavelength, in whatever company."""
    model = Dofa(CONFIG)
    all_bands, two = (
        model.prepare(sample()),
        model.prepare(Sample(sample().pixels[[8, 1]], ("B12", "B3"), "s2")),
    )
    np.testing.assert_array_equal(two["s2"], all_bands["s2"][[8, 1]])
    assert two["wavelengths_pm"].tolist() == [2_190_000, 560_000]
    assert all_bands["wavelengths_pm"].tolist() == [
        round(um * 1e6) for um in S2_WAVELENGTHS_UM.values()
    ]


def test_bands_of_the_request() -> None:
    """Bands that the card does not know are read as the request describes them."""
    described = Sample(np.full((2, 32, 32), 300.0, np.float32), ("ST_B10", "X"), "s2")
    inputs = Dofa(CONFIG).with_options(DESCRIBED).prepare(described)
    assert inputs["wavelengths_pm"].tolist() == [10_900_000, 400_000]
    np.testing.assert_allclose(inputs["s2"][:, 5, 5], [1.0, 1499.5], rtol=1e-5)
    (result,) = loaded().run([EncodeItem(inputs=inputs, pooling="native")])
    assert result.error is None


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"wavelengths_um": [0.5, 0.6]}, "model_config.mean"),
        ({"mean": [0.5, 0.6], "std": [1, 1]}, "model_config.wavelengths_um"),
        (DESCRIBED | {"mean": []}, "model_config.mean"),
        (DESCRIBED | {"mean": [1.0]}, "model_config.mean"),
        (DESCRIBED | {"wavelengths_um": [1, 2, 3]}, "model_config.wavelengths_um"),
    ],
)
def test_descriptions_that_describe_nothing(options: dict[str, Any], field: str) -> None:
    """Parts that are missing or of the wrong length are named."""
    with pytest.raises(ModelError) as caught:
        Dofa(CONFIG).with_options(options).prepare(sample(("X", "Y")))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "options",
    [
        {"std": [1, 0]},
        {"mean": [1, "2"]},
        {"mean": [1, float("nan")]},
        {"wavelengths_um": 0.5},
        {"wavelengths_um": [0.5, -1]},
    ],
)
def test_invalid_wavelengths(options: dict[str, Any]) -> None:
    """The card's schema refuses them before anything is fetched."""
    check_options(Dofa.card, DESCRIBED, "model_config")
    with pytest.raises(ModelError, match="accepted: array") as caught:
        check_options(Dofa.card, options, "model_config")
    assert caught.value.field == f"model_config.{next(iter(options))}"


@pytest.mark.parametrize("bands", [("B4", "B1"), ("B4", "B4"), ("VV",)])
def test_bands_without_statistics(bands: tuple[str, ...]) -> None:
    """A band of Sentinel-2 without published statistics is rejected."""
    with pytest.raises(ModelError, match="described by the option wavelengths_um") as caught:
        Dofa(CONFIG).prepare(sample(bands))
    assert caught.value.field == "sensor.bands"


def test_wavelengths_encoded() -> None:
    """Sines, then cosines, of nanometres at falling frequencies."""
    encoded = encode_wavelengths(torch.tensor([560_000]), 8)
    angles = 560 * 10_000.0 ** (-np.arange(4) / 4)
    np.testing.assert_allclose(encoded, [[*np.sin(angles), *np.cos(angles)]], rtol=0, atol=1e-4)


def test_batches_of_mixed_bands() -> None:
    """Items are batched by their wavelengths, and a vector does not depend on its batch."""
    model = loaded()
    image = model.model.example_inputs("rgb")
    inputs = [
        model.model.prepare(sample()),
        model.model.prepare(sample(S2_BANDS[::-1])),
        model.model.prepare(sample(("B8", "B4", "B3"))),
        image,
        model.model.prepare(sample(S1_BANDS, "s1")),
        model.model.prepare(sample(seed=1)),
    ]
    keys = [model.model.batch_key(one) for one in inputs]
    assert keys[0] == keys[5]
    assert len(set(keys)) == 5
    together = model.run([EncodeItem(inputs=one, pooling="native") for one in inputs])
    for one, result in zip(inputs, together, strict=True):
        (alone,) = model.run([EncodeItem(inputs=one, pooling="native")])
        np.testing.assert_allclose(result.data, alone.data, rtol=0, atol=1e-5)


def test_kernels_are_made_once_and_follow_the_weights() -> None:
    """Those of known wavelengths are reused until the weights change."""
    embed = PatchEmbed(planes=8, patch_size=16, dim=12)
    with torch.inference_mode():
        first, _ = embed.kernels((560_000, 490_000))
        assert embed.kernels((560_000, 490_000))[0] is first
        assert first.shape == (12, 2, 16, 16)
        embed.load_state_dict({name: value * 2 for name, value in embed.state_dict().items()})
        assert not torch.allclose(embed.kernels((560_000, 490_000))[0], first)
        assert embed.bfloat16().kernels((560_000, 490_000))[0].dtype == torch.bfloat16


def test_the_vector_is_normed_and_the_grid_is_not() -> None:
    """The native feature is the layer norm of what the mean of the grid is."""
    model = loaded()
    encoded = model.encode([model.model.prepare(sample())])
    mean = pooling.pool(encoded, "mean")
    torch.testing.assert_close(mean, pooling.token_grid(encoded).mean(dim=(2, 3)))
    normed = torch.nn.functional.layer_norm(mean, (12,), eps=1e-6)
    torch.testing.assert_close(pooling.pool(encoded, "native"), normed)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("blocks.0.mlp.fc2.bias", None, "missing blocks.0.mlp.fc2.bias"),
        ("head.weight", (2, 12), "unexpected head.weight"),
        ("pos_embed", (1, 197, 12), "pos_embed has shape"),
        ("patch_embed.proj.weight", (12, 3, 16, 16), "unexpected patch_embed.proj.weight"),
    ],
)
def test_files_that_do_not_fit(name: str, shape: tuple[int, ...] | None, message: str) -> None:
    """Another model's file, another size, or a damaged file is refused by name."""
    checkpoint = small.spoilt(released_file(), name, shape)
    with pytest.raises(CheckpointError, match=message):
        Dofa.convert(checkpoint, SMALL, "base")


def test_another_variants_file() -> None:
    """A file of the small network is no base network."""
    with pytest.raises(CheckpointError, match="checkpoint of DOFA, base: missing blocks"):
        Dofa.convert(released_file(), {}, "base")
