"""Random convolutional features, against plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from geobento.schemas.errors import InvalidImage, ModelError
from geobento.schemas.sample import Sample
from inference import pooling
from inference.engines.torch import TorchModel
from models.checkpoints.files import CheckpointError
from models.mosaiks import network as mosaiks_network
from models.mosaiks.model import Mosaiks
from models.types import Encoded

S2_BANDS = Mosaiks.card.modalities["s2"].sensor.bands

ROLF = {"variant": "rolf2021", "arch": {}}
TORCHGEO = {"variant": "torchgeo", "arch": {}}


def filters(seed: int, count: int = 6, channels: int = 3, kernel: int = 3) -> dict[str, Any]:
    """A checkpoint in torchgeo's layout, with a bias."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "weights": torch.randn(count, channels, kernel, kernel, generator=generator),
        "biases": torch.randn(count, generator=generator),
    }


def loaded(checkpoint: dict[str, Any], record: dict[str, Any], **config: Any) -> TorchModel:
    """A model with these filters."""
    architecture, tensors = Mosaiks.convert(checkpoint, record, record["variant"])
    model = Mosaiks(architecture | config)
    network = model.network()
    network.load_state_dict(tensors, strict=True)
    return TorchModel(model, network)


def default() -> TorchModel:
    """The model that is served."""
    config = Mosaiks.default_config("gaussian")
    model = Mosaiks(config)
    network = model.network()
    network.load_state_dict(Mosaiks.seeded_state_dict(config), strict=True)
    return TorchModel(model, network)


def response(image: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """(K, H - k + 1, W - k + 1): the filters at every position, summed up plainly."""
    kernel = weights.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(image, (kernel, kernel), axis=(1, 2))
    summed = np.einsum("chwij,kcij->khw", windows.astype(np.float64), weights.astype(np.float64))
    return np.asarray(summed)


def features(image: NDArray[Any], checkpoint: dict[str, Any], sign: int) -> NDArray[Any]:
    """(2 K, h, w) rectified maps; `sign` of the bias in the negative half."""
    bias = checkpoint["biases"].numpy()[:, None, None]
    plain = response(image, checkpoint["weights"].numpy())
    if sign > 0:  # torchgeo: one signed bias
        both = np.concatenate([plain + bias, -(plain + bias)])
    else:
        both = np.concatenate([plain - bias, -plain - bias])
    return np.asarray(np.maximum(both, 0))


def image(height: int, width: int, channels: int = 3) -> NDArray[np.float32]:
    """Noise in 0..1."""
    return np.random.default_rng(height * width).random((channels, height, width), np.float32)


def network_input(pixels: NDArray[np.float32], modality: str = "rgb") -> dict[str, Any]:
    """Prepared inputs that the network sees as these numbers (C, H, W)."""
    return {modality: pixels.transpose(1, 2, 0) * 255 if modality == "rgb" else pixels}


def encode(model: TorchModel, pixels: NDArray[np.float32], modality: str = "rgb") -> Encoded:
    """The tokens of one image."""
    return model.encode([network_input(pixels, modality)])


@pytest.mark.parametrize(("record", "sign"), [(ROLF, -1), (TORCHGEO, 1)])
@pytest.mark.parametrize("equal", [True, False])
def test_features_equal_a_plain_sum(record: dict[str, Any], sign: int, equal: bool) -> None:
    """Both published conventions of the bias, which differ as soon as it is not zero."""
    checkpoint = filters(1)
    pixels = image(40, 53)
    encoded = encode(loaded(checkpoint, record, equal_cells=equal), pixels)
    expected = features(pixels, checkpoint, sign)
    pooled = pooling.pool(encoded, "mean")[0].numpy()
    np.testing.assert_allclose(pooled, expected.mean(axis=(1, 2)), atol=1e-5)
    if not equal:
        cells = pooling.token_grid(encoded)[0].numpy()
        np.testing.assert_allclose(
            cells[:, 1, 2], expected[:, 16:32, 32:48].mean(axis=(1, 2)), atol=1e-5
        )
        np.testing.assert_allclose(
            cells[:, 2, 3], expected[:, 32:, 48:].mean(axis=(1, 2)), atol=1e-5
        )


@given(st.integers(3, 90), st.integers(3, 90))
@settings(max_examples=25, deadline=None)
def test_the_mean_of_the_grid_is_the_vector(height: int, width: int) -> None:
    """Cells are of equal size and cover the map exactly, whatever the size of the region."""
    encoded = encode(loaded(filters(2), ROLF, equal_cells=True), image(height, width))
    cells, vector = pooling.token_grid(encoded)[0], pooling.pool(encoded, "mean")[0]
    torch.testing.assert_close(cells.mean(dim=(1, 2)), vector, atol=1e-5, rtol=1e-5)
    assert tuple(cells.shape[1:]) == encoded.grid_shape


@pytest.mark.parametrize("equal", [True, False])
def test_tiles_make_the_same_vector(equal: bool) -> None:
    """Tiles that overlap by the filter less one pixel, weighted by area, are the whole."""
    model = loaded(filters(3), ROLF, equal_cells=equal)
    pixels = image(60, 82)
    whole = pooling.pool(encode(model, pixels), "mean")[0]
    total, area = torch.zeros_like(whole), 0
    for top, bottom in ((0, 25), (25, 58)):
        for left, right in ((0, 40), (40, 80)):
            tile = pixels[:, top : bottom + 2, left : right + 2]
            size = (bottom - top) * (right - left)
            total += size * pooling.pool(encode(model, tile), "mean")[0]
            area += size
    torch.testing.assert_close(total / area, whole, atol=1e-5, rtol=1e-5)


def test_tiles_on_the_lattice_of_the_cells_make_the_same_grid() -> None:
    """Cells of 16 pixels: the grid of a tile is a part of the grid of the whole."""
    model = loaded(filters(4), ROLF)
    pixels = image(66, 66)
    whole = pooling.token_grid(encode(model, pixels))[0]
    tile = pooling.token_grid(encode(model, pixels[:, 16:50, 32:66]))[0]
    torch.testing.assert_close(tile, whole[:, 1:3, 2:4], atol=1e-5, rtol=1e-5)


def test_strips_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """How the map is cut for the cache does not show."""
    model, pixels = loaded(filters(5), TORCHGEO, equal_cells=True), image(50, 41)
    whole = encode(model, pixels).tokens
    row = (pixels.shape[-1] - 2) * model.model.config["filters"]
    for rows in (0, 1, 7):
        monkeypatch.setattr(mosaiks_network, "RESPONSES_PER_CHUNK", rows * row)
        torch.testing.assert_close(encode(model, pixels).tokens, whole, atol=1e-6, rtol=1e-5)


def test_a_vector_does_not_depend_on_its_batch() -> None:
    """To the last bit: one region gives one vector whatever it shares a batch with."""
    model = default()
    pixels = image(32, 32)
    alone = encode(model, pixels).tokens[0]
    among = model.encode([network_input(x) for x in (image(32, 32) * 0.5, pixels, pixels)]).tokens
    assert torch.equal(among[1], alone)
    assert torch.equal(among[2], alone)


def test_the_seeded_filters() -> None:
    """1024 features from zero-mean filters of unit length, the same every time."""
    config = Mosaiks.default_config("gaussian")
    first, second = Mosaiks.seeded_state_dict(config), Mosaiks.seeded_state_dict(config)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert Mosaiks(config).dim == 1024
    for modality, channels in (("rgb", 3), ("s2", 12)):
        weight = first[f"banks.{modality}.weight"]
        assert weight.shape == (512, channels, 3, 3)
        torch.testing.assert_close(weight.mean(dim=(1, 2, 3)), torch.zeros(512), atol=1e-6, rtol=0)
        torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(512))
        assert not first[f"banks.{modality}.bias_positive"].any()


def test_brightness_alone_changes_nothing() -> None:
    """A constant image has no texture: zero-mean filters answer with zeros."""
    tokens = encode(default(), np.full((3, 40, 40), 0.7, np.float32)).tokens
    assert tokens.abs().max() < 1e-6


@given(st.integers(1, 200), st.integers(1, 40))
def test_averages_cover_every_pixel_once(length: int, cell: int) -> None:
    """Weights of a cell sum to one; times the cell's length they sum to one for each pixel."""
    for edges in (
        mosaiks_network.equal_cell_edges(length, cell),
        mosaiks_network.fixed_cell_edges(length, cell),
    ):
        weights = mosaiks_network.averaging_weights(edges, length).double()
        torch.testing.assert_close(weights.sum(1), torch.ones(len(edges) - 1).double())
        shares = (weights * edges.diff()[:, None]).sum(0)
        torch.testing.assert_close(shares, torch.ones(length).double(), atol=1e-5, rtol=1e-5)


def test_preparation() -> None:
    """Images over 255; digital numbers over 10000, clipped to 0..1."""
    served = default()
    model = served.model
    image = Image.new("RGB", (9, 5), (51, 51, 51))
    prepared = model.prepare_image(image)
    assert prepared["rgb"].dtype == np.uint8
    read = served.collate_inputs([prepared])["rgb"]
    assert read.shape == (1, 3, 256, 256)
    np.testing.assert_allclose(read, 0.2, rtol=1e-6)
    as_it_is = loaded(filters(0), ROLF).model.prepare_image(image)["rgb"]
    assert as_it_is.shape == (5, 9, 3)
    numbers = np.full((12, 4, 4), 2500.0, np.float32)
    numbers[3], numbers[4] = 12_000, -5
    scaled = model.prepare(Sample(numbers, S2_BANDS, "s2"))["s2"]
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[:5, 0, 0], [0.25, 0.25, 0.25, 1.0, 0.0])


def test_samples_that_do_not_fit() -> None:
    """Bands in another order, too few pixels: an error that says what is accepted."""
    model = default().model
    numbers = np.zeros((12, 4, 4), np.float32)
    with pytest.raises(ModelError, match="in this order"):
        model.prepare(Sample(numbers, S2_BANDS[::-1], "s2"))
    with pytest.raises(ModelError, match="at least 3 x 3"):
        model.prepare(Sample(numbers[:, :2], S2_BANDS, "s2"))
    with pytest.raises(InvalidImage):
        model.prepare_image(Image.new("RGB", (9, 2)))


@pytest.mark.parametrize(
    ("change", "record", "message"),
    [
        ({}, {"variant": "gaussian"}, "'rolf2021' or 'torchgeo', not 'gaussian'"),
        ({"extra": torch.zeros(1)}, ROLF, "unexpected extra"),
        ({"biases": None}, ROLF, "missing biases"),
        ({"biases": torch.zeros(5)}, ROLF, "biases has shape"),
        ({"weights": torch.zeros(6, 3, 3, 2)}, ROLF, "weights has shape"),
        ({"weights": torch.zeros(6, 4, 3, 3)}, ROLF, "4 channels"),
        ({}, {"variant": "rolf2021", "arch": {"features": 99}}, "says 99 features"),
    ],
)
def test_checkpoints_that_do_not_fit(
    change: dict[str, Any], record: dict[str, Any], message: str
) -> None:
    """Keys, shapes and the configuration are checked; nothing is guessed."""
    checkpoint = {k: v for k, v in {**filters(0), **change}.items() if v is not None}
    with pytest.raises(CheckpointError, match=message):
        Mosaiks.convert(checkpoint, record, record["variant"])


def test_sentinel_filters_against_a_plain_sum() -> None:
    """Twelve channels, from digital numbers to the vector; beyond 0..1 only where not clipped."""
    numbers = np.random.default_rng(1).integers(-500, 14_000, (12, 21, 19)).astype(np.float32)
    checkpoint = filters(6, channels=12)
    for record, sign, scaled in (
        (ROLF, -1, np.clip(numbers / 10_000, 0, 1)),
        (TORCHGEO, 1, numbers / 10_000),
    ):
        model = loaded(checkpoint, record)
        encoded = model.encode([model.model.prepare(Sample(numbers, S2_BANDS, "s2"))])
        expected = features(scaled, checkpoint, sign).mean(axis=(1, 2))
        result = pooling.pool(encoded, "mean")[0].numpy()
        np.testing.assert_allclose(result, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("equal", "shares"), [(True, (20, 20)), (False, (16, 16, 8))])
def test_cells_count_by_their_area(equal: bool, shares: tuple[int, ...]) -> None:
    """A map of 40 x 40: two equal cells a side, or two whole cells and one cut off."""
    encoded = encode(loaded(filters(7), ROLF, equal_cells=equal), image(42, 42))
    assert encoded.area_weights is not None
    side = np.array(shares) / 40
    np.testing.assert_allclose(
        encoded.area_weights.numpy(), np.outer(side, side).ravel(), rtol=1e-6
    )
    assert (encoded.pixel_margin, encoded.num_prefix_tokens) == (1, 0)


@pytest.mark.parametrize(("bands", "side"), [(S2_BANDS[::-1], 8), (S2_BANDS[:3], 8), (S2_BANDS, 2)])
def test_the_torchgeo_variant_checks_its_samples_too(bands: tuple[str, ...], side: int) -> None:
    """Bands and size are checked whatever the variant of the filters."""
    model = loaded(filters(8, channels=12), TORCHGEO).model
    with pytest.raises(ModelError):
        model.prepare(Sample(np.zeros((len(bands), side, side), np.float32), bands, "s2"))


def test_a_region_smaller_than_a_larger_filter() -> None:
    """The smallest region follows from the filters, as it does for images."""
    model = loaded(filters(9, channels=12, kernel=5), ROLF).model
    with pytest.raises(ModelError):
        model.prepare(Sample(np.zeros((12, 4, 4), np.float32), S2_BANDS, "s2"))


@pytest.mark.parametrize("shape", [(), (6,), (6, 3), (6, 3, 3)])
def test_weights_of_another_rank(shape: tuple[int, ...]) -> None:
    """A tensor that is no filter bank is named as such."""
    with pytest.raises(CheckpointError):
        Mosaiks.convert({**filters(0), "weights": torch.zeros(shape)}, ROLF, "rolf2021")


@pytest.mark.parametrize("arch", [None, "rcf", [1]])
def test_a_configuration_of_another_form(arch: object) -> None:
    """A configuration that cannot be read is the file's mistake and no crash."""
    with pytest.raises(CheckpointError):
        Mosaiks.convert(filters(0), {"arch": arch}, "rolf2021")
