"""Many items, one forward per group, one result each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image

from geobento.schemas.cards import ImageInput, ModelCard, Variant, WeightsSource
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from inference import pooling
from inference.engines.torch import TorchModel
from inference.types import EncodeItem, EncodeResult
from models.base import Model
from models.types import Config, Encoded, Inputs, Tensors

CARD = ModelCard(
    id="sums",
    title="Sums",
    kind="on_the_fly",
    paper="none",
    summary="none",
    licence="none",
    variants={"only": Variant(dim=1, title="only")},
    default_variant="only",
    pooling="mean",
    weights=WeightsSource(source="seeded", licence="none"),
    max_batch_size=3,
)


class Sums(Model):
    """Answers a class token, and a grid of the pixels themselves."""

    card = CARD

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.batches: list[int] = []

    @property
    def dim(self) -> int:
        return 1

    def prepare(self, sample: Sample) -> Inputs:
        return {"pixels": sample.pixels}

    def network(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        pixels = network(batch["pixels"])
        self.batches.append(len(pixels))
        if (pixels == -1).any():
            raise RuntimeError("this input breaks the forward")
        if (pixels == -2).any():
            raise ModelError("this input does not fit")
        tokens = torch.cat([torch.full_like(pixels[:, :1, 0], 1e6), pixels.flatten(1)], dim=1)
        height, width = pixels.shape[1:]
        weights = torch.arange(1.0, height * width + 1)
        return Encoded(tokens[..., None], (height, width), 1, 0.5, weights / weights.sum())

    @classmethod
    def default_config(cls, variant: str) -> Config:
        return {}

    @classmethod
    def seeded_state_dict(cls, config: Config) -> Tensors:
        return {}

    @classmethod
    def convert(
        cls, checkpoint: Tensors, record: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        return {}, {}


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """Batches are not cut."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(
    *values: float, pooling: Any = "mean", shape: tuple[int, int] = (1, 2)
) -> tuple[Sums, list[EncodeResult]]:
    """One item per value, whose pixels are all that value."""
    model = Sums({})
    items = [
        EncodeItem(inputs={"pixels": np.full(shape, value, np.float32)}, pooling=pooling)
        for value in values
    ]
    return model, TorchModel(model, model.network()).run(items)


def test_batches_are_bounded_and_order_is_kept() -> None:
    """Seven items make batches of at most three."""
    model, results = run(*range(7))
    assert [float(result.data[0]) for result in results] == list(range(7))
    assert model.batches == [3, 3, 1]


def test_items_of_different_shape_are_grouped() -> None:
    """Shapes that cannot be stacked go into forwards of their own."""
    model = Sums({})
    shapes = [(1, 2), (2, 2), (1, 2), (2, 2), (1, 3)]
    items = [
        EncodeItem(inputs={"pixels": np.full(shape, i, np.float32)}, pooling="mean")
        for i, shape in enumerate(shapes)
    ]
    results = TorchModel(model, model.network()).run(items)
    assert [float(result.data[0]) for result in results] == pytest.approx([0, 1, 2, 3, 4])
    assert sorted(model.batches) == [1, 2, 2]


def test_one_bad_item_fails_alone() -> None:
    """An exception, a contract error and a result that is not finite: each for itself."""
    _, results = run(1, -1, 2, -2, float("nan"), 3)
    kinds = [result.error["error"]["type"] if result.error else None for result in results]
    assert kinds == [None, "internal_error", None, "model_error", "internal_error", None]
    assert [float(results[i].data[0]) for i in (0, 2, 5)] == pytest.approx([1, 2, 3])
    message = results[1].error["error"]["message"]  # type: ignore[index]
    assert "breaks" not in message


def test_pooling_is_done_once_for_all_models() -> None:
    """The class token takes no part; the mean is weighted by area; grids are row by row."""
    model = Sums({})
    pixels = np.array([[1, 2], [3, 10]], np.float32)
    expected: list[Any] = ["mean", "max", None]
    items = [EncodeItem(inputs={"pixels": pixels}, pooling=way) for way in expected]
    mean, maximum, grid = TorchModel(model, model.network()).run(items)
    np.testing.assert_allclose(mean.data, [(1 * 1 + 2 * 2 + 3 * 3 + 4 * 10) / 10])
    np.testing.assert_allclose(maximum.data, [10])
    np.testing.assert_array_equal(grid.data, pixels[None])
    assert grid.pixel_margin == 0.5
    assert model.batches == [3]


def test_without_weights_all_tokens_count_alike() -> None:
    """The common case."""
    encoded = Encoded(torch.tensor([[[9.0], [1.0], [2.0]]]), (1, 2), num_prefix_tokens=1)
    assert pooling.pool(encoded, "mean").item() == 1.5


def test_an_empty_batch() -> None:
    """An empty list is no special case."""
    assert run()[1] == []


def test_a_pooling_of_its_own_for_every_item() -> None:
    """Items of one batch may want different things; each gets its own."""
    expected: list[Any] = ["max", "mean", None]
    items = [
        EncodeItem(inputs={"pixels": np.array([[i, i + 4.0]], np.float32)}, pooling=way)
        for i, way in enumerate(expected)
    ]
    model = Sums({})
    maximum, mean, grid = TorchModel(model, model.network()).run(items)
    assert model.batches == [3]
    np.testing.assert_allclose(maximum.data, [4])
    np.testing.assert_allclose(mean.data, [1 + 8 / 3], rtol=1e-6)
    np.testing.assert_array_equal(grid.data, [[[2, 6]]])


def test_a_single_value_that_is_not_finite() -> None:
    """Infinity in one cell fails that item, as a grid and as a vector, and no other."""
    items = [
        EncodeItem(inputs={"pixels": np.array([[1, last]], np.float32)}, pooling=way)
        for last, way in ((np.inf, None), (2, None), (-np.inf, "mean"), (np.inf, "max"))
    ]
    model = Sums({})
    results = TorchModel(model, model.network()).run(items)
    assert [result.error is None for result in results] == [False, True, False, False]
    assert results[0].data is None
    assert "not finite" in results[2].error["error"]["message"]  # type: ignore[index]


def test_warm_up_fails_for_a_broken_model() -> None:
    """A model that cannot answer its own example is not ready."""

    class Broken(Sums):
        card = CARD.model_copy(update={"image": ImageInput(modality="rgb")})

        def prepare_image(self, image: Image, preprocessing: str | None = None) -> Inputs:
            return {"pixels": np.full((2, 2), -2, np.float32)}

    model = Broken({})
    with pytest.raises(RuntimeError, match=r"warm-up of sums rgb: .*does not fit"):
        TorchModel(model, model.network()).warm_up()


def test_an_input_that_is_no_array_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A malformed input is one item's error; the log says whose."""
    good = EncodeItem(inputs={"pixels": np.ones((1, 2), np.float32)}, pooling="max")
    bad = EncodeItem(inputs={"pixels": [[1.0, 2.0]]}, pooling="max", request_id="abc")
    model = Sums({})
    results = TorchModel(model, model.network()).run([good, bad])
    assert [result.error is None for result in results] == [True, False]
    (record,) = caplog.records
    assert record.getMessage() == "request abc: forward of sums failed"
    assert record.__dict__["request"] == "abc"


def test_cells_without_data_are_no_failure() -> None:
    """NaN there is an answer; in other cells, and for all of a vector, it is not."""

    class Gaps(Sums):
        def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
            encoded = super().encode(network, batch)
            return replace(encoded, valid=batch["pixels"][:, 0] < 9)

    model = Gaps({})
    items = [
        EncodeItem(inputs={"pixels": np.array([[first, second]], np.float32)}, pooling=way)
        for first, second, way in (
            (np.nan, 2, None), (np.nan, 2, "mean"), (np.inf, 2, None), (-np.inf, 2, None),
            (np.nan, np.nan, "max"), (1, 3, "mean"),
        )
    ]  # fmt: skip
    results = TorchModel(model, model.network()).run(items)
    assert [result.error is None for result in results] == [True, True, True, False, False, True]
    assert np.isfinite(results[1].data).all()
