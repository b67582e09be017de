"""SatMAE++: files, channels, bands, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("transformers")  # comes with the same extra as timm

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import PixelGrid, Sample
from inference.engines.torch import TorchModel
from inference.types import EncodeItem
from models.checkpoints.files import CheckpointError
from models.satmaepp.model import SatMaePp
from models.types import Inputs, Tensors
from tests.models import small

CARD = SatMaePp.card
S2_BANDS = SatMaePp.card.modalities["s2_10b"].sensor.bands

VARIANTS = pytest.mark.parametrize("variant", list(CARD.variants))
DECODER = {
    "mask_token": torch.zeros(1, 1, 16),
    "decoder_blocks.0.norm1.weight": torch.zeros(16),
    "proj_up_conv.bias": torch.zeros(12),
    "up_block1.proj_out.bias": torch.zeros(10),
    "up_block.proj_out.bias": torch.zeros(3),
}
"""What training files hold beside the encoder."""


def sizes(variant: str) -> dict[str, Any]:
    return small.config(SatMaePp, variant)


def released_file(variant: str) -> Tensors:
    """A small network's tensors, none of them zero, with those of its decoder."""
    torch.manual_seed(0)
    encoder = SatMaePp.seeded_state_dict(sizes(variant))
    return {name: torch.randn_like(tensor) * 0.3 for name, tensor in encoder.items()} | DECODER


def loaded(variant: str, **changed: torch.Tensor) -> TorchModel:
    record = {"arch": sizes(variant)}
    config, tensors = SatMaePp.convert(released_file(variant) | changed, record, variant)
    model = SatMaePp(config)
    network = model.network()
    network.load_state_dict(tensors, strict=True)
    return TorchModel(model, network)


def bands(pixels: NDArray[Any], *, placed: bool = True) -> Sample:
    height, width = pixels.shape[-2:]
    grid = PixelGrid("EPSG:32736", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), height, width)
    return Sample(pixels, S2_BANDS, "s2_10b", grid=grid if placed else None)


def random_inputs(model: Any, modality: str, height: int, width: int, seed: int) -> Inputs:
    count = len(CARD.modalities[modality].sensor.bands)
    pixels = np.random.default_rng(seed).integers(0, 3000, (count, height, width))
    sample = Sample(pixels.astype(np.float32), CARD.modalities[modality].sensor.bands, modality)
    inputs: Inputs = model.prepare(sample)
    return inputs


@VARIANTS
def test_released_sizes(variant: str) -> None:
    """The encoders have the parameters and the length of vectors that the card states."""
    model = SatMaePp(SatMaePp.default_config(variant))
    with torch.device("meta"):
        network = model.network()
    stated = CARD.variants[variant]
    assert sum(parameter.numel() for parameter in network.parameters()) == stated.parameters
    assert model.dim == stated.dim


@VARIANTS
def test_files_that_do_not_fit(variant: str) -> None:
    """A key too few, too many, of another shape; the decoder is left out by name."""
    tensors, record = released_file(variant), {"arch": sizes(variant)}
    _, encoder = SatMaePp.convert(tensors, record, variant)
    assert encoder.keys() == tensors.keys() - DECODER.keys()
    without = {name: tensor for name, tensor in tensors.items() if name != "norm.bias"}
    with pytest.raises(CheckpointError, match=r"missing norm\.bias$"):
        SatMaePp.convert(without, record, variant)
    with pytest.raises(CheckpointError, match=r"unexpected head\.bias$"):
        SatMaePp.convert(tensors | {"head.bias": torch.zeros(62)}, record, variant)
    with pytest.raises(CheckpointError, match="pos_embed has shape"):
        SatMaePp.convert(tensors | {"pos_embed": torch.zeros(1, 50, 24)}, record, variant)
    with pytest.raises(CheckpointError, match=r"has shape|missing"):
        SatMaePp.convert(tensors, {}, variant)
    with pytest.raises(CheckpointError, match="13 channels"):
        SatMaePp.convert(tensors, {"arch": {**record["arch"], "in_chans": 13}}, variant)


def test_the_other_network() -> None:
    """Each file is refused for the other variant, by what it is for."""
    with pytest.raises(CheckpointError, match=r"network for ten bands; .* for images"):
        SatMaePp.convert(released_file("s2_10b"), {"arch": sizes("s2_10b")}, "bgr_vit_large")
    with pytest.raises(CheckpointError, match=r"network for images; .* for ten bands"):
        SatMaePp.convert(released_file("rgb_vit_large"), {"arch": sizes("rgb_vit_large")}, "s2_10b")


def test_an_encoder_of_the_same_shape() -> None:
    """SatMAE's file has the same encoder; what it lacks beside the decoder gives it away."""
    tensors, record = released_file("rgb_vit_large"), {"arch": sizes("rgb_vit_large")}
    satmae = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(("proj_up", "up_block"))
    }
    with pytest.raises(CheckpointError, match="such as SatMAE;"):
        SatMaePp.convert(satmae, record, "rgb_vit_large")


def test_order_of_channels() -> None:
    """The README's order sees an image as the code's order sees it with red and blue swapped."""
    readme, code = (SatMaePp(sizes(name)) for name in ("bgr_vit_large", "rgb_vit_large"))
    seen = np.random.default_rng(0).integers(0, 256, (240, 300, 3), dtype=np.uint8)
    swapped = Image.fromarray(np.ascontiguousarray(seen[..., ::-1]))
    result = readme.prepare_image(Image.fromarray(seen))["image"]
    np.testing.assert_array_equal(result, code.prepare_image(swapped)["image"])
    red = Sample(
        np.array([2750, 0, 0], np.float32)[:, None, None] * np.ones((1, 20, 20), np.float32),
        ("B4", "B3", "B2"),
        "rgb",
    )
    assert code.prepare(red)["image"][9, 9] == pytest.approx([255, 0, 0])
    assert readme.prepare(red)["image"][9, 9] == pytest.approx([0, 0, 255])


S2_MEAN = (
    1184.3824625, 1120.77120066, 1136.26026392, 1263.73947144, 1645.40315151,
    1846.87040806, 1762.59530783, 1972.62420416, 1732.16362238, 1247.91870117,
)  # fmt: skip


def test_bands_are_scaled_by_their_statistics() -> None:
    """The mean maps to the middle of 0 to 255, rounded down; two deviations to its ends."""
    model = SatMaePp(sizes("s2_10b"))
    pixels = np.repeat(np.array(S2_MEAN)[:, None, None], 100, axis=1).repeat(100, axis=2)
    np.testing.assert_allclose(model.prepare(bands(pixels))["s2_10b"], 127 / 255, atol=1e-6)
    for value, level in ((-1000, 0), (20000, 1)):
        result = model.prepare(bands(np.full((10, 30, 30), value)))["s2_10b"]
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, level, atol=1e-6)


def test_regions_are_seen_whole() -> None:
    """A region is not cropped; pixels without a region are, as in the reference implementation."""
    model = SatMaePp(sizes("s2_10b"))
    pixels = np.full((10, 109, 200), -5000.0)
    pixels[:, :6, :6] = 20000
    whole = model.prepare(bands(pixels))["s2_10b"]
    cropped = model.prepare(bands(pixels, placed=False))["s2_10b"]
    assert whole.shape == cropped.shape == (10, 96, 96)
    assert whole[:, 1, 1].min() > 0.9
    assert cropped.max() < 0.1


def test_rejected_inputs() -> None:
    """Images for the bands' network, bands for the images' one, bands in another order."""
    ten, images = SatMaePp(sizes("s2_10b")), SatMaePp(sizes("bgr_vit_large"))
    assert ten.modalities() == ("s2_10b",)
    assert images.modalities() == ("image", "rgb")
    with pytest.raises(ModelError, match="images need the variant"):
        ten.prepare_image(Image.new("RGB", (224, 224)))
    with pytest.raises(ModelError, match="read image, rgb, not 's2_10b'"):
        images.prepare(bands(np.zeros((10, 96, 96))))
    with pytest.raises(ModelError, match="B2, B3, B4, B5"):
        ten.prepare(Sample(np.zeros((10, 96, 96)), S2_BANDS[::-1], "s2_10b"))
    with pytest.raises(ModelError, match="at least 8 x 8"):
        ten.prepare(bands(np.zeros((10, 96, 7))))


def test_codes_of_positions_and_groups() -> None:
    """Both reach the patches; neither reaches the class token before it attends."""
    inputs = random_inputs(SatMaePp(sizes("s2_10b")), "s2_10b", 96, 96, seed=0)
    plain = released_file("s2_10b")

    def tokens(**changed: torch.Tensor) -> torch.Tensor:
        return loaded("s2_10b", **changed).encode([inputs]).tokens

    unused = plain["pos_embed"].clone()
    unused[:, 0] += 5
    torch.testing.assert_close(tokens(pos_embed=unused), tokens())
    for name in ("pos_embed", "channel_embed"):
        assert not torch.allclose(tokens(**{name: plain[name].flip(1)}), tokens(), atol=1e-3)


@pytest.mark.parametrize(
    ("variant", "modality", "side"), [("bgr_vit_large", "rgb", 14), ("s2_10b", "s2_10b", 12)]
)
def test_vectors_do_not_depend_on_the_batch(variant: str, modality: str, side: int) -> None:
    """Regions of any shape share a batch and get the same vectors as alone."""
    one = loaded(variant)
    shapes = [(20, 90), (200, 200), (96, 96)]
    inputs = [
        random_inputs(one.model, modality, *shape, seed=seed) for seed, shape in enumerate(shapes)
    ]
    together = one.run([EncodeItem(inputs=item, pooling="native") for item in inputs])
    grids = one.run([EncodeItem(inputs=item, pooling=None) for item in inputs])
    for item, vector, grid in zip(inputs, together, grids, strict=True):
        (alone,) = one.run([EncodeItem(inputs=item, pooling="native")])
        np.testing.assert_allclose(vector.data, alone.data, atol=1e-5)
        assert grid.data.shape == (24, side, side)
        np.testing.assert_allclose(grid.data.mean(axis=(1, 2)), vector.data, atol=1e-5)
