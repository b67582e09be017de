"""The precomputed product of annual vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from geobento.schemas.errors import ModelError, NoImageryError
from geobento.schemas.sample import Sample
from inference.engines.torch import TorchModel
from inference.importing import import_model
from inference.loading import load_model, model_device
from inference.types import EncodeItem, Pooling
from models.checkpoints.files import CheckpointError
from models.gse.model import Gse
from models.weights import store
from models.weights.stored_model import WEIGHTS_FILE

BANDS = Gse.card.modalities["annual"].sensor.bands
DIM = len(BANDS)

GSE = Gse({})
LOADED = TorchModel(GSE, GSE.network())


def unit_vectors(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Some of them, (64, H, W), rounded as the product is."""
    vectors = np.random.default_rng(seed).normal(size=(DIM, *shape))
    vectors /= np.linalg.norm(vectors, axis=0)
    numbers = np.round(127.5 * np.sign(vectors) * np.sqrt(np.abs(vectors)))
    return (np.sign(numbers) * (numbers / 127.5) ** 2).astype(np.float32)


def prepared(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """What the model makes of them."""
    vectors: NDArray[np.float32] = GSE.prepare(Sample(pixels, BANDS, "annual", valid=valid))[
        "annual"
    ]
    return vectors


def answer(vectors: NDArray[np.float32], pooling: Pooling | None) -> NDArray[np.float32]:
    """The model's answer for prepared vectors."""
    (result,) = LOADED.run([EncodeItem(inputs={"annual": vectors}, pooling=pooling)])
    assert result.error is None
    data: NDArray[np.float32] = result.data
    return data


def test_vectors_of_the_product_stay_as_they_are() -> None:
    """Rounded lengths are no reason to change a bit."""
    vectors = unit_vectors(5, 7)
    lengths = np.linalg.norm(vectors, axis=0)
    assert np.ptp(lengths) > 1e-3
    assert prepared(vectors).tobytes() == vectors.tobytes()


def test_vectors_that_resampling_made_shorter_are_unit_vectors_again() -> None:
    """Same direction, length 1, and only those."""
    vectors = unit_vectors(2, 2)
    resampled = vectors.copy()
    resampled[:, 0, 1] *= 0.7
    result = prepared(resampled)
    assert np.linalg.norm(result[:, 0, 1]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(result[:, 0, 1], vectors[:, 0, 1], atol=0.01)
    assert (result[:, 1] == vectors[:, 1]).all()


def test_pixels_without_a_vector_are_nan() -> None:
    """Those that the source has no data for, whatever fills them, and those of length 0."""
    vectors, valid = unit_vectors(3, 4), np.ones((3, 4), bool)
    valid[0, 1] = False
    vectors[:, 2, 3] = 0
    result = prepared(vectors, valid)
    assert np.isnan(result[:, [0, 2], [1, 3]]).all()
    assert np.isnan(result).sum() == 2 * DIM
    with pytest.raises(NoImageryError, match="zero"):
        prepared(np.zeros((DIM, 2, 2), np.float32), np.ones((2, 2), bool))


def test_vectors_are_pooled_over_the_pixels_that_have_one() -> None:
    """Mean and maximum leave NaN out; the grid keeps it."""
    vectors, valid = unit_vectors(3, 4), np.ones((3, 4), bool)
    valid[0] = False
    ready = prepared(vectors, valid)
    np.testing.assert_allclose(answer(ready, "mean"), vectors[:, 1:].mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(answer(ready, "max"), vectors[:, 1:].max(axis=(1, 2)), atol=1e-6)
    assert answer(ready, None).tobytes() == ready.tobytes()


def test_a_batch_is_each_of_its_items() -> None:
    """Regions of one shape, with different gaps."""
    regions = []
    for seed in range(5):
        valid = np.random.default_rng(seed).random((4, 4)) > 0.3
        regions.append(prepared(unit_vectors(4, 4, seed=seed), valid))
    items = [EncodeItem(inputs={"annual": region}, pooling="native") for region in regions]
    for region, result in zip(regions, LOADED.run(items), strict=True):
        np.testing.assert_allclose(result.data, answer(region, "native"), atol=1e-6)


def test_all_axes_in_their_order() -> None:
    """A part of a vector, or another order, is no vector."""
    for bands in (BANDS[:3], BANDS[::-1]):
        with pytest.raises(ModelError, match="A00"):
            GSE.prepare(Sample(unit_vectors(2, 2)[: len(bands)], bands, "annual"))


def test_there_are_no_weights(tmp_path: Path) -> None:
    """It is imported from nothing, once, says so, and refuses a checkpoint and dummies."""
    stored = import_model("gse_annual")
    assert (stored.metadata["weights"], stored.metadata["source"]) == ("none", "none")
    assert stored.to_served_model().weights == "none"
    with pytest.raises(ModelError, match="gse has no weights"):
        import_model("gse", dummy=True)
    assert import_model("gse").tag == stored.tag
    assert not stored.is_on_the_fly
    assert (model_device(stored, "cuda"), stored.to_served_model().dim) == ("cpu", DIM)
    load_model(store.get_model("alphaearth")).warm_up()
    file = tmp_path / "weights.safetensors"
    file.write_bytes((stored.path / WEIGHTS_FILE).read_bytes())
    with pytest.raises(CheckpointError, match="precomputed and has no weights"):
        import_model("gse", checkpoint=file)
