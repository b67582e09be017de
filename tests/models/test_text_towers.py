"""Texts through networks, and tokenizers in the model store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("transformers")

from geobento.schemas.errors import ModelError, ModelStoreError
from inference import pooling
from inference.engines.torch import TorchModel
from inference.importing import import_model
from inference.loading import load_model
from inference.types import EncodeItem
from models.base import Model
from models.checkpoints.files import CheckpointError
from models.clip.openai import Clip
from models.clip.openclip import OpenClipXlmRoberta
from models.clip.remoteclip import RemoteClip
from models.mosaiks.model import Mosaiks
from models.preprocessing import text as preprocessing_text
from models.weights import store
from models.weights.stored_model import TOKENIZER_FILE, StoredModel
from tests.models import small
from tests.models.weights.test_store import own_store  # noqa: F401 - a store for every test

FAMILIES = [Clip, OpenClipXlmRoberta, RemoteClip]
TOWERS = pytest.mark.parametrize("cls", FAMILIES, ids=lambda cls: cls.card.id)
TEXTS = ("a", "a field of maize", "ein Hafen mit Booten", "very " * 30)


@TOWERS
def test_vectors_do_not_depend_on_the_batch(cls: type[Model]) -> None:
    """A text gives the same vector alone, among others, filled up further, beside images."""
    stored = small.stored(cls)
    model, loaded = stored.model(), load_model(stored)
    spec = cls.card.text
    assert spec is not None
    items = [
        EncodeItem(inputs=model.prepare_text(text).to_inputs(spec), pooling="native")
        for text in TEXTS
    ]
    image = EncodeItem(inputs=model.example_inputs("image"), pooling="native")
    together = loaded.run([image, *items, image])
    for item, result in zip(items, together[1:-1], strict=True):
        (alone,) = loaded.run([item])
        np.testing.assert_allclose(result.data, alone.data, atol=1e-5)
        filled = np.full(77, spec.pad, np.int64)
        filled[: len(item.inputs["text"])] = item.inputs["text"]
        (longer,) = loaded.run([EncodeItem(inputs={"text": filled}, pooling="native")])
        np.testing.assert_allclose(longer.data, alone.data, atol=1e-5)
    assert len({result.data.tobytes() for result in together[1:-1]}) == len(TEXTS)


@TOWERS
def test_without_a_tokenizer_only_images_are_read(cls: type[Model]) -> None:
    """Weights without a vocabulary say how to get one, and serve images."""
    stored = small.stored(cls, with_tokenizer=False)
    without_texts = sorted(["image", *cls.card.modalities])
    assert stored.to_served_model().modalities == without_texts
    with pytest.raises(ModelError, match="again with --tokenizer"):
        stored.model().prepare_text("a")
    load_model(stored).warm_up()
    assert small.stored(cls).tag != stored.tag
    assert small.stored(cls).to_served_model().modalities == sorted([*without_texts, "text"])


def test_a_damaged_tokenizer_is_not_used() -> None:
    """The vocabulary has a digest as the weights have."""
    stored = small.stored(Clip)
    with (stored.path / TOKENIZER_FILE).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(ModelStoreError, match=r"tokenizer\.json .* is damaged"):
        stored.model().prepare_text("a")


def test_the_scale_is_the_checkpoints(tmp_path: Path) -> None:
    """Probabilities are made with the factor that was learned."""
    config = small.config(Clip)
    tensors = Clip.seeded_state_dict(config) | {"logit_scale": torch.tensor(4.6052)}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(orjson.dumps(config))
    stored = import_model(
        Clip.card.id, checkpoint=tmp_path / "model.safetensors", config=tmp_path / "config.json"
    )
    assert stored.model().logit_scale == pytest.approx(100, rel=1e-4)
    with pytest.raises(ModelError, match="does not compare"):
        _ = Mosaiks(Mosaiks.default_config("gaussian")).logit_scale


def test_a_tokenizer_beside_the_checkpoint_comes_along(tmp_path: Path) -> None:
    """A folder as the hub has it is imported whole; another model's vocabulary is refused."""
    config = small.config(OpenClipXlmRoberta)
    record = {"vision_cfg": config["vision"], "hf_text_config": config["text"], "embed_dim": 20}
    (tmp_path / "config.json").write_bytes(orjson.dumps(record))
    checkpoint = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(OpenClipXlmRoberta.seeded_state_dict(config), checkpoint)
    own, other = OpenClipXlmRoberta.card.text, Clip.card.text
    assert own is not None
    assert other is not None
    beside = tmp_path / "tokenizer.json"

    def imported(tokenizer: Path | None = None) -> StoredModel:
        return import_model(
            "open_clip_vit_b32",
            checkpoint=checkpoint,
            config=tmp_path / "config.json",
            tokenizer=tokenizer,
        )

    assert imported().to_served_model().modalities == ["image"]
    beside.write_bytes(preprocessing_text.dummy_tokenizer_json(other))
    with pytest.raises(CheckpointError, match="expected to begin with 0"):
        imported()
    beside.write_bytes(preprocessing_text.dummy_tokenizer_json(own))
    assert imported().to_served_model().modalities == ["image", "text"]
    assert imported(tokenizer=beside).tag == imported().tag


def test_a_vocabulary_that_is_too_large(tmp_path: Path) -> None:
    """Tokens that the network does not know are found out at import."""
    config = small.config(OpenClipXlmRoberta)
    config["text"]["vocab_size"] = 100
    record = {"vision_cfg": config["vision"], "hf_text_config": config["text"], "embed_dim": 20}
    (tmp_path / "config.json").write_bytes(orjson.dumps(record))
    torch.save(OpenClipXlmRoberta.seeded_state_dict(config), tmp_path / "model.bin")
    assert OpenClipXlmRoberta.card.text is not None
    (tmp_path / "tokenizer.json").write_bytes(
        preprocessing_text.dummy_tokenizer_json(OpenClipXlmRoberta.card.text)
    )
    with pytest.raises(CheckpointError, match="has 259 tokens, the checkpoint knows 100"):
        import_model(
            "open_clip_vit_b32",
            checkpoint=tmp_path / "model.bin",
            config=tmp_path / "config.json",
        )
    assert store.list_models() == []


@TOWERS
def test_the_vector_is_the_towers_own(cls: type[Model]) -> None:
    """Every pooling but the native one is over the tokens, and differs."""
    stored = small.stored(cls)
    inputs = stored.model().prepare_text("a field").to_inputs(cls.card.text)  # type: ignore[arg-type]
    loaded = load_model(stored)
    assert isinstance(loaded, TorchModel)
    encoded = loaded.encode([inputs])
    assert pooling.pool(encoded, "native").shape == (1, stored.model().dim)
    assert encoded.tokens.shape[:2] == (1, 16)
