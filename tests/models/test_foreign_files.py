"""Files that are not a model's own, at import: what differs is named, and the store stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("transformers")

from inference.importing import import_model
from models.base import Model
from models.checkpoints.files import CheckpointError
from models.registry import list_model_classes
from models.types import Tensors
from models.weights import store
from tests.models import small

LEARNED = [
    cls for cls in list_model_classes() if any(v.repository for v in cls.card.variants.values())
]
EVERY = pytest.mark.parametrize("cls", LEARNED, ids=lambda cls: cls.card.id)


DIFFERS = ("missing", "unexpected", "has shape", "the checkpoint is of", "position table has")


def weights(cls: type[Model]) -> Tensors:
    """Those of a small network of a family, under the names of ours."""
    return cls.seeded_state_dict(small.config(cls))


def refused(cls: type[Model], file: Path, variant: str | None = None) -> str:
    """The error of an import, after which the store is as it was."""
    before = [entry.tag for entry in store.list_models()]
    with pytest.raises(CheckpointError) as caught:
        import_model(cls.card.id, checkpoint=file, variant=variant)
    assert [entry.tag for entry in store.list_models()] == before
    assert str(file.parent) not in str(caught.value)
    return str(caught.value)


@EVERY
def test_files_of_every_other_model(cls: type[Model], tmp_path: Path) -> None:
    """The message says what is missing or too much, or which model it seems to be."""
    for other in LEARNED:
        if other is not cls:
            file = tmp_path / f"{other.card.id}.safetensors"
            save_file({name: t.contiguous() for name, t in weights(other).items()}, file)
            message = refused(cls, file)
            assert any(word in message for word in DIFFERS), message


@EVERY
def test_files_that_were_cut_off(cls: type[Model], tmp_path: Path) -> None:
    """Of both formats, anywhere."""
    torch.save(weights(cls), tmp_path / "a.pt")
    save_file(
        {name: t.contiguous() for name, t in weights(cls).items()}, tmp_path / "a.safetensors"
    )
    for name in ("a.pt", "a.safetensors"):
        whole = (tmp_path / name).read_bytes()
        for share in (0.0, 0.5, 0.99):
            (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
            assert name in refused(cls, tmp_path / name)


class _Evil:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)


@EVERY
def test_code_among_the_weights(cls: type[Model], tmp_path: Path) -> None:
    """Nothing of it is run, whatever else the file holds."""
    witness = tmp_path / "was-run"
    torch.save({"model": weights(cls), "extra": _Evil(witness)}, tmp_path / "a.pt")
    assert "tensors alone" in refused(cls, tmp_path / "a.pt")
    assert not witness.exists()


@EVERY
def test_files_of_another_variant(cls: type[Model], tmp_path: Path) -> None:
    """The released sizes are expected; a small network is none of them."""
    save_file({n: t.contiguous() for n, t in weights(cls).items()}, tmp_path / "a.safetensors")
    for variant in cls.card.variants:
        message = refused(cls, tmp_path / "a.safetensors", variant)
        assert any(word in message for word in DIFFERS), message
