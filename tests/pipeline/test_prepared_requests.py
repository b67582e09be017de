"""Texts and classifications through both halves, a small model in between."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")

from geobento.config.settings import Settings
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.errors import GeoBentoError, InvalidRequest, ModelError, PayloadTooLarge
from geobento.schemas.requests import ImageEmbeddingRequest, TextEmbeddingRequest, ZeroShotRequest
from inference.engine import LoadedModel
from inference.loading import load_model
from models.clip.openai import Clip
from models.dinov2.model import DinoV2
from pipeline.engine import Engine
from pipeline.model_registry import ModelHandle, ModelRegistry
from tests.conftest import ROOT
from tests.models import small

FIELD = (ROOT / "tests" / "data" / "field.jpg").read_bytes()
CLASSES = ["forest", "harbour", "field"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    """An engine with small models."""
    stored = [small.stored(cls) for cls in (Clip, DinoV2)]
    return Engine(
        ModelRegistry(
            ModelHandle(entry.model(), entry.to_served_model(), "cpu") for entry in stored
        ),
        Settings(max_client_batch_size=8),
    )


@pytest.fixture(scope="module")
def clip() -> LoadedModel:
    """The small CLIP with its weights."""
    return load_model(small.stored(Clip))


def embedded(
    engine: Engine, clip: LoadedModel, **fields: object
) -> list[Embedding | GeoBentoError]:
    """The answers for texts."""
    request = TextEmbeddingRequest(model="clip_vit_l_14", **fields)
    job = engine.prepare_texts(request)
    return job.assemble(clip.run(job.items))


def classified(
    engine: Engine, clip: LoadedModel, **fields: object
) -> list[Classification | GeoBentoError]:
    """The answers for images with classes."""
    given = {"images": [FIELD], "classes": CLASSES, **fields}
    job = engine.prepare_zero_shot(ZeroShotRequest(model="clip_vit_l_14", **given))
    return job.assemble(clip.run(job.items))


def test_texts_have_unit_length_unless_asked(engine: Engine, clip: LoadedModel) -> None:
    """The card's default is the unit vector; `normalize: false` gives the tower's own."""
    (unit,) = embedded(engine, clip, texts=["a field"])
    (plain,) = embedded(engine, clip, texts=["a field"], normalize=False)
    assert isinstance(unit, Embedding)
    assert isinstance(plain, Embedding)
    assert np.linalg.norm(unit.data) == pytest.approx(1, abs=1e-6)
    length = np.linalg.norm(plain.data)
    assert abs(length - 1) > 1e-3
    np.testing.assert_allclose(plain.data / length, unit.data, atol=1e-6)
    assert (unit.meta.normalized, plain.meta.normalized) == (True, False)
    assert unit.meta.modality == "text"


def test_cut_texts_say_so(engine: Engine, clip: LoadedModel) -> None:
    """A long text is answered for its beginning, and the answer tells."""
    short, long = embedded(engine, clip, texts=["ab", "x" * 200])
    assert short.meta.text.model_dump() == {"tokens": 4, "truncated": False}  # type: ignore[union-attr]
    assert long.meta.text.model_dump() == {"tokens": 77, "truncated": True}  # type: ignore[union-attr]


def test_a_bad_text_fails_alone(engine: Engine, clip: LoadedModel) -> None:
    """The others are answered in order; with nothing else it is the answer."""
    first, empty, last = embedded(engine, clip, texts=["a", " ", "a"])
    assert isinstance(empty, InvalidRequest)
    assert empty.field == "texts.1"
    np.testing.assert_array_equal(first.data, last.data)  # type: ignore[union-attr]
    with pytest.raises(InvalidRequest, match="the text is empty"):
        embedded(engine, clip, texts=[""])


def test_probabilities_are_the_softmax_of_scaled_cosines(engine: Engine, clip: LoadedModel) -> None:
    """They follow from the vectors that the other endpoints give."""
    template = "an image of a {} from above"
    (result,) = classified(engine, clip, template=template)
    assert isinstance(result, Classification)
    job = engine.prepare_images(ImageEmbeddingRequest(model="clip_vit_l_14", images=[FIELD]))
    (image,) = job.assemble(clip.run(job.items))
    names = embedded(engine, clip, texts=[template.format(name) for name in CLASSES])
    assert isinstance(image, Embedding)
    cosines = np.array([image.data @ name.data for name in names])  # type: ignore[union-attr]
    logits = np.exp(clip.model.logit_scale * cosines.astype(np.float64))
    np.testing.assert_allclose(result.probabilities, logits / logits.sum(), atol=1e-5)
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-6)
    assert result.meta.template == template
    assert result.meta.logit_scale == clip.model.logit_scale


def test_a_bad_image_is_not_classified(engine: Engine, clip: LoadedModel) -> None:
    """The other images of the request are."""
    first, damaged, last = classified(engine, clip, images=[FIELD, FIELD[:300], FIELD])
    assert isinstance(damaged, InvalidRequest)
    assert damaged.field == "images.1"
    np.testing.assert_array_equal(first.probabilities, last.probabilities)  # type: ignore[union-attr]


def test_requests_that_cannot_be_classified(engine: Engine, clip: LoadedModel) -> None:
    """No class name, too many classes, a model without texts, a template without placeholder."""
    with pytest.raises(InvalidRequest, match="empty") as caught:
        classified(engine, clip, classes=["a", " "])
    assert caught.value.field == "classes.1"
    with pytest.raises(PayloadTooLarge, match="accepted: up to 8"):
        classified(engine, clip, classes=["a"] * 9)
    with pytest.raises(ModelError, match="reads no texts"):
        engine.prepare_zero_shot(
            ZeroShotRequest(model="dinov2-small", images=[FIELD], classes=["a"])
        )
    with pytest.raises(ModelError, match="reads no texts"):
        engine.prepare_texts(TextEmbeddingRequest(model="dinov2-small", texts=["a"]))
    with pytest.raises(ModelError, match="no option 'x'"):
        classified(engine, clip, config={"x": 1})
    with pytest.raises(ValueError, match="exactly once"):
        ZeroShotRequest(model="x", images=[FIELD], classes=["a"], template="no placeholder")
