"""The model store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import bentoml
import orjson
import pytest
import torch
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from geobento.schemas.errors import ModelError, ModelNotFound, ModelStoreError
from inference.engines.torch import TorchModel
from inference.importing import import_model
from inference.loading import load_model
from models.checkpoints.files import CheckpointError
from models.mosaiks.model import Mosaiks
from models.weights import registration, store
from models.weights.converted_model import ConvertedModel
from tests.conftest import SHARED


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path) -> Iterator[None]:
    """A store for every test."""
    (tmp_path / "models").mkdir()
    BentoMLContainer.model_store.set(ModelStore(tmp_path / "models"))
    yield
    BentoMLContainer.model_store.reset()


def test_the_same_weights_are_one_entry() -> None:
    """The version is a digest: importing twice changes nothing; dummies are another entry."""
    first, second = import_model("mosaiks"), import_model("rcf")
    assert first.tag == second.tag
    dummy = import_model("mosaiks", dummy=True)
    assert dummy.tag != first.tag
    assert dummy.metadata["weights"] == "dummy"
    assert {entry.tag for entry in store.list_models()} == {first.tag, dummy.tag}


def test_saved_models_are_loaded_unchanged() -> None:
    """Weights, configuration, and the metadata that says what they are."""
    stored = import_model("mosaiks")
    loaded = load_model(stored)
    assert isinstance(loaded, TorchModel)
    loaded.warm_up()
    state = loaded._network.state_dict()
    for name, tensor in Mosaiks.seeded_state_dict(stored.config).items():
        assert torch.equal(state[name], tensor)
    assert {"source", "revision", "sha256", "licence", "preprocessing"} <= stored.metadata.keys()
    served = stored.to_served_model()
    assert (served.dim, served.variant, served.weights) == (1024, "gaussian", "seeded")
    assert {path.name for path in stored.path.iterdir()} == {
        "model.safetensors",
        "config.json",
        "model.yaml",
    }


def test_damaged_weights_are_not_served() -> None:
    """One flipped bit, and the model does not open."""
    stored = import_model("mosaiks")
    file = stored.path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelStoreError, match="damaged"):
        load_model(stored)
    file.unlink()
    with pytest.raises(ModelStoreError, match="missing"):
        load_model(stored)


def test_another_preprocessing_is_refused() -> None:
    """Vectors of two preprocessings must not meet in one index unnoticed."""
    stored = import_model("mosaiks")
    older = replace(stored, metadata={**stored.metadata, "preprocessing": "0" * 64})
    with pytest.raises(ModelStoreError, match="another preprocessing"):
        load_model(older)


def test_an_interrupted_save_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is in the store whole or not at all."""

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        import_model("mosaiks")
    assert store.list_models() == []


def test_weights_that_do_not_fit_the_network_are_refused() -> None:
    """Before anything is written."""
    config = Mosaiks.default_config("gaussian")
    tensors = Mosaiks.seeded_state_dict(config)
    del tensors["banks.s2.weight"]
    with pytest.raises(ModelStoreError, match="do not fit"):
        ConvertedModel(Mosaiks, config, tensors, variant="gaussian", weights="seeded", source="")
    assert store.list_models() == []


def test_selection_of_served_models() -> None:
    """All in the store, the newest of each; or those named, by id, alias, variant or version."""
    assert store.select_models(()) == []
    with pytest.raises(ModelStoreError, match="geobento models import mosaiks"):
        store.select_models(("mosaiks",))
    with pytest.raises(ModelNotFound):
        store.select_models(("nope",))
    first = import_model("mosaiks")
    newest = import_model("mosaiks", dummy=True)
    assert [entry.tag for entry in store.select_models(())] == [newest.tag]
    assert [entry.tag for entry in store.select_models(("rcf",))] == [newest.tag]
    assert [entry.tag for entry in store.select_models((first.tag,))] == [first.tag]
    assert [entry.tag for entry in store.select_models(("mosaiks:gaussian",))] == [newest.tag]
    with pytest.raises(ModelStoreError, match="one version of each variant"):
        store.select_models((first.tag, newest.tag))
    assert store.remove(newest.tag) == newest.tag
    assert [entry.tag for entry in store.select_models(())] == [first.tag]


def test_models_of_others_are_left_alone() -> None:
    """The store may hold models that are not ours."""
    import bentoml

    with bentoml.models.create("somebody_elses"):
        pass
    assert store.list_models() == []


def test_contradicting_arguments() -> None:
    """A checkpoint says itself what it is; variants have to exist."""
    with pytest.raises(ModelError, match="belongs to a --checkpoint"):
        import_model("mosaiks", config=Path("a.json"))
    with pytest.raises(ModelError, match="no variant"):
        import_model("mosaiks", variant="large")
    with pytest.raises(CheckpointError, match="--checkpoint"):
        import_model("mosaiks", variant="torchgeo")


def test_released_files(tmp_path: Path) -> None:
    """A checkpoint with its configuration; a configuration that says nothing is refused."""
    checkpoint, config = tmp_path / "a.pt", tmp_path / "a.json"
    torch.save({"weights": torch.ones(4, 12, 3, 3), "biases": torch.zeros(4)}, checkpoint)
    config.write_bytes(orjson.dumps({"variant": "torchgeo gaussian", "arch": {"features": 8}}))
    stored = import_model("mosaiks", checkpoint=checkpoint, config=config)
    assert stored.to_served_model().variant == "torchgeo"
    assert stored.to_served_model().dim == 8
    assert stored.metadata["weights"] == "imported"
    load_model(stored).warm_up()
    config.write_text("[]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        import_model("mosaiks", checkpoint=checkpoint, config=config)


@pytest.mark.skipif(not (SHARED / "parity" / "rcf").is_dir(), reason="no parity cases")
def test_an_official_checkpoint_can_be_imported() -> None:
    """The parity case's files go through the door that users have."""
    folder = SHARED / "parity" / "rcf"
    stored = import_model("rcf", checkpoint=folder / "checkpoint.pt", config=folder / "config.json")
    load_model(stored).warm_up()
    assert stored.to_served_model().dim == 64


def test_an_interrupted_save_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder is left, and the same model can be saved afterwards."""

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr("safetensors.torch.save_file", fail)
        with pytest.raises(OSError, match="disk full"):
            import_model("mosaiks")
    assert list((tmp_path / "models").rglob("*.safetensors")) == []
    assert list((tmp_path / "models").rglob("config.json")) == []
    load_model(import_model("mosaiks"))


def test_an_unfinished_entry_is_invisible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others see complete entries only; saving the same twice at a time gives one entry."""
    other = import_model("mosaiks", dummy=True)
    seen: list[list[str]] = []
    copytree = shutil.copytree

    def slow(source: str, target: str, *, dirs_exist_ok: bool) -> object:
        copied = copytree(source, target, dirs_exist_ok=dirs_exist_ok)
        seen.append([stored.tag for stored in store.list_models()])
        if len(seen) == 1:
            seen.append([import_model("mosaiks").tag])
        return copied

    monkeypatch.setattr(shutil, "copytree", slow)
    own = import_model("mosaiks")
    assert seen == [[other.tag], [other.tag], [own.tag]]
    assert {stored.tag for stored in store.list_models()} == {own.tag, other.tag}
    load_model(own)
    assert store.get_model("mosaiks:latest").tag == own.tag
    assert bentoml.models.get("mosaiks").tag.version == own.tag.partition(":")[2]
    assert [path.name for path in tmp_path.glob("models-*")] == []


def test_a_store_that_is_a_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries cannot be written beside a mount point and moved into it."""
    monkeypatch.setattr(Path, "is_mount", lambda path: True)
    stored = import_model("mosaiks")
    assert store.get_model("mosaiks").tag == stored.tag
    assert import_model("mosaiks").tag == stored.tag


def test_the_name_latest() -> None:
    """`id:latest` is the newest; a version that is not there is said with what to run."""
    first = import_model("mosaiks")
    newest = import_model("mosaiks", dummy=True)
    assert store.get_model("mosaiks:latest").tag == store.get_model("rcf").tag == newest.tag
    assert store.get_model(f"rcf:{first.tag.partition(':')[2]}").tag == first.tag
    with pytest.raises(ModelStoreError, match="geobento models import mosaiks"):
        store.get_model("mosaiks:0000")


def test_the_same_model_named_twice_is_served_once() -> None:
    """An id and an alias of it are no contradiction."""
    stored = import_model("mosaiks")
    assert [entry.tag for entry in store.select_models(("mosaiks", "rcf", stored.tag))] == [
        stored.tag
    ]


def test_weights_of_another_shape_are_refused() -> None:
    """The message names the tensor."""
    config = Mosaiks.default_config("gaussian")
    tensors = Mosaiks.seeded_state_dict(config) | {"banks.rgb.weight": torch.zeros(512, 4, 3, 3)}
    with pytest.raises(ModelStoreError, match=r"banks\.rgb\.weight"):
        ConvertedModel(Mosaiks, config, tensors, variant="gaussian", weights="seeded", source="")


def test_a_damaged_configuration_is_named() -> None:
    """What is wrong in the store is said with the tag."""
    stored = import_model("mosaiks")
    (stored.path / "config.json").write_text("{")
    (damaged,) = store.list_models()
    with pytest.raises(ModelStoreError, match=rf"config\.json of {stored.tag} is damaged"):
        damaged.model()


def test_a_damaged_entry_can_be_removed() -> None:
    """The way out that the error message names, remove and import again, is open."""
    stored = import_model("mosaiks")
    (stored.path / "config.json").write_text("{")
    store.remove(stored.tag)
    assert import_model("mosaiks").tag == stored.tag


def test_a_changed_configuration_is_not_served() -> None:
    """The configuration decides what the network sees, as much as the weights do."""
    stored = import_model("mosaiks")
    changed = {**stored.config, "clip": False, "equal_cells": False}
    (stored.path / "config.json").write_bytes(orjson.dumps(changed))
    with pytest.raises(ModelStoreError):
        load_model(store.get_model(stored.tag))


def test_two_writers_lose_no_measurement() -> None:
    """Values that are added at the same time are all there afterwards."""
    tag = import_model("mosaiks").tag
    names = [f"value_{number}" for number in range(8)]
    ready = Barrier(len(names))

    def add(name: str) -> None:
        ready.wait(20)
        registration.add_metadata(tag, {name: name})

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(add, names))
    metadata = store.get_model(tag).metadata
    assert [metadata.get(name) for name in names] == names
    assert registration.add_metadata(tag, {names[0]: "other"}).metadata == metadata
    assert [stored.tag for stored in store.list_models()] == [tag]
