"""Names that stand for one variant of a model: at import, in the store, in requests."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import torch

pytest.importorskip("transformers")  # comes with the same extra as timm

from geobento.schemas.errors import ModelError, ModelNotFound, ModelStoreError
from inference.importing import import_model
from models.satmaepp.model import SatMaePp
from models.weights import store
from pipeline.model_registry import ModelHandle, ModelRegistry
from tests.models import small
from tests.models.weights.test_store import own_store  # noqa: F401 - a store for every test

CARD = SatMaePp.card


def test_variants_of_a_name() -> None:
    """The id and general aliases: every variant, the default first; other aliases: their own."""
    every = ("rgb_vit_large", "bgr_vit_large", "s2_10b")
    assert CARD.variants_of("satmaepp") == CARD.variants_of("satmae++") == every
    assert CARD.variants_of("satmaepp_rgb") == ("rgb_vit_large", "bgr_vit_large")
    assert CARD.variants_of("satmaepp_s2_10b") == ("s2_10b",)
    assert CARD.name_to_import("satmae++") == "satmaepp"
    assert CARD.name_to_import("satmaepp_s2_10b") == "satmaepp_s2_10b"


def test_import_by_the_name_of_a_variant(tmp_path: Path) -> None:
    """The name chooses the variant; another one beside it is a contradiction."""
    sizes = small.config(SatMaePp, "s2_10b")
    checkpoint, config = tmp_path / "a.pth", tmp_path / "a.json"
    torch.save({"model": SatMaePp.seeded_state_dict(sizes), "epoch": 49}, checkpoint)
    config.write_bytes(orjson.dumps({"arch": sizes}))
    stored = import_model(" SatMAEpp_S2_10b ", checkpoint=checkpoint, config=config)
    assert stored.metadata["variant"] == "s2_10b"
    assert stored.to_served_model().modalities == ["s2_10b"]
    with pytest.raises(ModelError, match="stands for satmaepp s2_10b, not for rgb_vit_large"):
        import_model("satmaepp_s2_10b", variant="rgb_vit_large", dummy=True)


def test_the_store_keeps_variants_apart() -> None:
    """A name of one variant never finds another, and says what to import."""
    images = small.stored(SatMaePp)
    assert store.get_model("satmaepp_rgb").tag == store.get_model("satmaepp").tag == images.tag
    with pytest.raises(ModelStoreError, match=r"geobento models import satmaepp_s2_10b$"):
        store.get_model("satmaepp_s2_10b")
    bands = small.stored(SatMaePp, variant="s2_10b")
    assert store.get_model("satmaepp_s2_10b").tag == store.get_model("satmaepp").tag == bands.tag
    assert store.get_model("satmaepp_rgb").tag == images.tag


def test_requests_never_get_another_variant() -> None:
    """Asked for ten bands, a service with the image network says how to import the other."""
    stored = small.stored(SatMaePp)
    registry = ModelRegistry([ModelHandle(stored.model(), stored.to_served_model(), "cpu")])
    for name in ("satmaepp", "satmae++", "satmaepp_rgb"):
        assert registry.find(name).served.tag == stored.tag
    with pytest.raises(ModelNotFound, match="run: geobento models import satmaepp_s2_10b"):
        registry.find("satmaepp_s2_10b")
