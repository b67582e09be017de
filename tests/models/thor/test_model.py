"""THOR: bands at their own resolution, patches of any size, the released file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from geobento.schemas.errors import ModelError
from geobento.schemas.options import check_options
from geobento.schemas.sample import PixelGrid, Sample
from inference import pooling
from inference.engines.torch import TorchModel
from inference.types import EncodeItem
from models.checkpoints.files import CheckpointError
from models.thor import network as networks
from models.thor.checkpoint import FILE_BANDS
from models.thor.model import Thor
from tests.models import small

SMALL = {"arch": {"embed_dim": 16, "depth": 1, "num_heads": 2, "band_embed_dim": 4}}
CONFIG = Thor.default_config("tiny") | SMALL["arch"]
S2_BANDS = Thor.card.modalities["s2"].bands
TEN = S2_BANDS[:10]


def released_file() -> dict[str, torch.Tensor]:
    """A small network under the names of the released file, Sentinel-3 and decoder included."""
    theirs = {ours: name for name, ours in FILE_BANDS.items()}
    named: dict[str, torch.Tensor] = {}
    for name, tensor in Thor.seeded_state_dict(CONFIG).items():
        if name.startswith("kernels."):
            _, band, kind = name.split(".")
            named[f"encoder.ind_patch_embed.patch_embed.{theirs[band]}.{kind}"] = tensor
        else:
            named[f"encoder.{name}"] = tensor
    named["encoder.ind_patch_embed.patch_embed.S3:S7_BT_in.weight"] = torch.ones(16, 1, 16, 16)
    named["encoder.band_embed.group9"] = torch.ones(4)
    named["decoder_pred.weight"] = torch.ones(2)
    return named


def loaded() -> TorchModel:
    """The small network with its weights."""
    config, tensors = Thor.convert(released_file(), SMALL, "tiny")
    network = Thor(config).network()
    network.load_state_dict(tensors, strict=True)
    return TorchModel(Thor(config), network)


def sample(
    bands: tuple[str, ...] = TEN,
    shape: tuple[int, int] = (48, 48),
    modality: str = "s2",
    seed: int = 0,
) -> Sample:
    """Noise."""
    pixels = np.random.default_rng(seed).uniform(0.001, 9000, (len(bands), *shape))
    return Sample(pixels.astype(np.float32), bands, modality)


def prepare(one: Sample, **options: Any) -> dict[str, Any]:
    """What the small model makes of a sample."""
    return Thor(CONFIG).with_options(options).prepare(one)


def test_reflectance_and_decibels() -> None:
    """Z-scores of reflectance, and of decibels, cut off at five standard deviations."""
    first = {"s2": (0.176620, 0.264520, 1e4), "s1": (-12.9850, 5.0062, 1)}
    for modality, (mean, std, unit) in first.items():
        spec = Thor.card.modalities[modality]
        bands, stats = spec.bands, spec.normalization
        np.testing.assert_allclose(stats.offset[0], mean * unit, rtol=1e-12)
        np.testing.assert_allclose(stats.scale[0], 1 / (std * unit), rtol=1e-12)
        raw = np.empty((len(bands), 48, 48), np.float32)
        for row, offset, scale in zip(raw, stats.offset, stats.scale, strict=True):
            for column, score in enumerate((0, 1, -0.5, 9)):
                value = offset + score / scale
                row[:, column::4] = value if modality == "s2" else 10 ** (value / 10)
        scores = prepare(Sample(raw, bands, modality))[modality]
        np.testing.assert_allclose(
            scores[:, 0, :4], [[0, 1, -0.5, 5]] * len(bands), rtol=0, atol=1e-4
        )


def test_pixels_without_data() -> None:
    """They become the mean of the others of their band; power of zero is no data."""
    power = np.full((2, 16, 16), 0.1, np.float32)
    power[0, :, :4], power[0, 0, 0], power[0, 0, 1], power[1, 3, 3] = 0.001, 0, np.nan, 1000
    valid = np.ones((16, 16), bool)
    valid[3, 3] = False
    scores = prepare(Sample(power, ("VV", "VH"), "s1", valid=valid))["s1"]
    others = np.delete(scores[0].ravel(), [0, 1, 3 * 16 + 3])
    np.testing.assert_allclose(scores[0, 0, :2], others.mean(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(scores[1], scores[1, 0, 0], rtol=0, atol=1e-5)
    empty = prepare(replace(sample(), valid=np.zeros((48, 48), bool)))["s2"]
    np.testing.assert_allclose(empty, 0, atol=1e-5)


@pytest.mark.parametrize(
    ("bands", "shape", "patch", "becomes"),
    [
        (TEN, (96, 96), 8, (96, 96)),
        (TEN, (90, 103), 8, (96, 96)),
        (("B4", "B3"), (90, 103), 8, (88, 104)),
        (S2_BANDS, (96, 96), 8, (96, 96)),
        (S2_BANDS, (70, 80), 8, (48, 96)),
        (TEN, (16, 17), 16, (32, 32)),
        (TEN, (576, 288), 8, (288, 144)),
        (TEN, (576, 288), 16, (576, 288)),
        (TEN, (400, 20), 4, (144, 8)),
    ],
)
def test_whole_patches(
    bands: tuple[str, ...], shape: tuple[int, int], patch: int, becomes: tuple[int, int]
) -> None:
    """Every group gets whole patches, and the finest no more than 36 a side."""
    inputs = prepare(sample(bands, shape), patch_size=patch)
    assert inputs["s2"].shape[1:] == becomes
    covered = inputs["pixel_mm"] / 1e3 * np.sqrt(np.prod(becomes))
    np.testing.assert_allclose(covered, 10 * np.sqrt(np.prod(shape)), rtol=1e-3)


def test_coarse_pixels() -> None:
    """At 20 m a pixel, bands of 10 and 20 m are alike, and those of 60 m have a third as many."""
    grid = PixelGrid("EPSG:32632", (20.0, 0.0, 0.0, 0.0, -20.0, 0.0), 48, 48)
    inputs = prepare(replace(sample(S2_BANDS), grid=grid))
    steps = dict(zip(S2_BANDS, inputs["bands"][:, 1].tolist(), strict=True))
    assert steps["B2"] == steps["B5"] == 1
    assert steps["B1"] == 3
    assert inputs["pixel_mm"] == 20_000


@pytest.mark.parametrize("patch", [3, 33, 8.5, "8", None])
def test_patch_sizes_out_of_range(patch: object) -> None:
    """The network was trained with 4 to 32 pixels."""
    with pytest.raises(ModelError, match="from 4 to 32") as caught:
        check_options(Thor.card, {"patch_size": patch}, "model_config")
    assert caught.value.field == "model_config.patch_size"


@pytest.mark.parametrize(
    ("one", "field"),
    [
        (sample(("B10",)), "sensor.bands"),
        (sample(("B4", "B4")), "sensor.bands"),
        (sample(("VV",)), "sensor.bands"),
        (sample(shape=(15, 40)), "spatial"),
        (replace(sample(), extras={"s1": sample(("VV",), (40, 48), "s1")}), "spatial"),
    ],
)
def test_samples_that_do_not_fit(one: Sample, field: str) -> None:
    """Unknown bands, too few pixels, modalities on two grids."""
    with pytest.raises(ModelError) as caught:
        prepare(one)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (4, [2**-2, 2**-4, 2**-6, 2**-8]),
        (3, [2**-4, 2**-8, 2**-2]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
    ],
)
def test_slopes(heads: int, expected: list[float]) -> None:
    """Powers of two; numbers of heads between powers of two take from the next one."""
    assert networks.alibi_slopes(heads) == expected


def test_distances_between_groups() -> None:
    """Centres of patches of two sizes over the same ground, in sides of the larger."""
    apart = networks.patch_distances([(2, 2), (1, 1)], [1, 2], torch.zeros(1))
    assert apart.shape == (5, 5)
    np.testing.assert_allclose(apart[0], [0, 0.5, 0.5, 0.5**0.5, 0.125**0.5], rtol=1e-6)


def test_the_grid_is_the_mean_of_the_groups() -> None:
    """Every group is brought to the finest and counts alike; in the vector, every token does."""
    model = loaded()
    encoded = model.encode([model.model.prepare(sample(shape=(64, 32)))])
    assert encoded.tokens.shape == (1, 8 * 4 + 4 * 2, 16)
    assert pooling.token_grid(encoded).shape == (1, 16, 8, 4)
    assert encoded.grid_shape == (8, 4)
    torch.testing.assert_close(
        pooling.pool(encoded, "mean"),
        (encoded.tokens[:, :32].mean(dim=1) + encoded.tokens[:, 32:].mean(dim=1)) / 2,
    )
    torch.testing.assert_close(
        pooling.pool(encoded, "mean"), pooling.token_grid(encoded).mean(dim=(2, 3))
    )
    torch.testing.assert_close(pooling.pool(encoded, "native"), encoded.tokens.mean(dim=1))


def test_two_sensors_together() -> None:
    """Radar of the same region adds its tokens to those of the optical bands."""
    model = loaded()
    both = replace(sample(), extras={"s1": sample(("VV", "VH"), modality="s1")})
    encoded = model.encode([model.model.prepare(both)])
    assert encoded.tokens.shape[1] == 36 + 9 + 36
    alone = model.encode([model.model.prepare(sample())])
    assert not torch.allclose(encoded.tokens[:, :45], alone.tokens)


def test_batches_of_mixed_items() -> None:
    """Items are batched by bands, shape and patch; a vector does not depend on its batch."""
    model = loaded()
    patches = model.model.with_options({"patch_size": 12})
    inputs = [
        model.model.prepare(sample()),
        model.model.prepare(sample(TEN[::-1])),
        model.model.prepare(sample(shape=(45, 50), seed=1)),
        patches.prepare(sample()),
        model.model.prepare(sample(("VV", "VH"), modality="s1")),
    ]
    keys = [model.model.batch_key(one) for one in inputs]
    assert keys[0] == keys[2]
    assert len(set(keys)) == 4
    assert inputs[0]["pixel_mm"] != inputs[2]["pixel_mm"]
    for expected in ("mean", None):
        together = model.run([EncodeItem(inputs=one, pooling=expected) for one in inputs])
        for one, result in zip(inputs, together, strict=True):
            (alone,) = model.run([EncodeItem(inputs=one, pooling=expected)])
            np.testing.assert_allclose(result.data, alone.data, rtol=0, atol=1e-5)


def test_the_order_of_bands_does_not_matter() -> None:
    """Bands are identified by name."""
    model = loaded()
    one = sample()
    turned = replace(one, pixels=one.pixels[::-1], bands=one.bands[::-1])
    first, second = (model.encode([model.model.prepare(each)]).tokens for each in (one, turned))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("encoder.norm.bias", None, "missing norm.bias"),
        ("encoder.ind_patch_embed.patch_embed.S2:NIR.bias", None, "missing kernels.B8.bias"),
        ("encoder.ind_patch_embed.patch_embed.L8:Red.bias", (16,), "unexpected kernels.L8:Red.b"),
        ("encoder.encoder_slopes", (3,), "encoder_slopes has shape"),
        ("encoder.cls_token", (1, 1, 16), "unexpected cls_token"),
    ],
)
def test_files_that_do_not_fit(name: str, shape: tuple[int, ...] | None, message: str) -> None:
    """Another model's file, another size, or a damaged file is refused by name."""
    checkpoint = small.spoilt(released_file(), name, shape)
    with pytest.raises(CheckpointError, match=message):
        Thor.convert(checkpoint, SMALL, "tiny")


def test_another_variants_file() -> None:
    """A file of the small network is no base network."""
    with pytest.raises(CheckpointError, match=r"checkpoint of THOR 1\.0, base: missing blocks"):
        Thor.convert(released_file(), {}, "base")
