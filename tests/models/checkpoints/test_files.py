"""Reading files that may come from anywhere."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoints.files import (
    CheckpointError,
    read_tensors,
    require_keys,
    require_shape,
    strip_prefix,
)

TENSORS = {"weights": torch.arange(4.0)}


def test_both_formats(tmp_path: Path) -> None:
    """safetensors, and torch.save of names to tensors."""
    save_file(TENSORS, tmp_path / "a.safetensors")
    torch.save(TENSORS, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        assert torch.equal(read_tensors(tmp_path / name)["weights"], TENSORS["weights"])


@pytest.mark.parametrize("nest", ["model", "state_dict"])
def test_files_of_training_scripts(tmp_path: Path, nest: str) -> None:
    """Weights beside optimizer, epoch and arguments, of a network wrapped for several devices."""
    wrapped = {f"module.{name}": tensor for name, tensor in TENSORS.items()}
    cached = {nest: wrapped, "optimizer": {"state": {}}, "epoch": 3, "args": Namespace(lr=1e-4)}
    torch.save(cached, tmp_path / "a.pth")
    assert torch.equal(read_tensors(tmp_path / "a.pth")["weights"], TENSORS["weights"])


def test_a_prefix_is_taken_off_whole() -> None:
    """Where only some names have it, it belongs to them."""
    some = {"model.a": TENSORS["weights"], "b": TENSORS["weights"]}
    assert strip_prefix(some, "model.") is some
    assert set(strip_prefix({"model.a": TENSORS["weights"]}, "model.")) == {"a"}


class _Evil:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    """A pickle that would run something is refused, and has run nothing."""
    witness = tmp_path / "was-run"
    torch.save({"weights": _Evil(witness)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(_Evil(witness)))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError):
            read_tensors(tmp_path / name)
    assert not witness.exists()


def test_files_that_are_something_else(tmp_path: Path) -> None:
    """Cut off, nested too deep, no checkpoint at all: a clear error."""
    save_file(TENSORS, tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:20])
    torch.save({"model": {"model": TENSORS}}, tmp_path / "nested.pt")
    (tmp_path / "text.pt").write_text("hello")
    for name in ("cut.safetensors", "nested.pt", "text.pt"):
        with pytest.raises(CheckpointError, match=name):
            read_tensors(tmp_path / name)


def test_keys_are_named() -> None:
    """What is missing and what is too much stand in the message."""
    require_keys(["a", "b"], ["b", "a"], "x")
    with pytest.raises(CheckpointError, match="missing c; unexpected b"):
        require_keys(["a", "b"], ["a", "c"], "x")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, 3), None),
        ((2, None), None),
        ((2, 4), "w has shape (2, 3), expected 2x4"),
        ((None, 4), "w has shape (2, 3), expected ?x4"),
        ((2, 3, 1), "w has shape (2, 3), expected 2x3x1"),
        ((6,), "w has shape (2, 3), expected 6"),
    ],
)
def test_shapes_are_named(shape: tuple[int | None, ...], message: str | None) -> None:
    """What is there and what is wanted; None stands for any length, not for any rank."""
    tensor = torch.zeros(2, 3)
    if message is None:
        require_shape("w", tensor, shape)
        return
    with pytest.raises(CheckpointError) as caught:
        require_shape("w", tensor, shape)
    assert str(caught.value) == message


@pytest.mark.parametrize(("present", "message"), [("a", "missing b, c"), ("abcd", "unexpected d")])
def test_only_what_is_wrong_is_named(present: str, message: str) -> None:
    """All keys of one kind, in order, and what they belong to."""
    with pytest.raises(CheckpointError) as caught:
        require_keys(present, "cab", "filters")
    assert str(caught.value) == f"filters: {message}"


def test_many_wrong_keys_are_counted() -> None:
    """Another model's file gives a message that can be read."""
    with pytest.raises(CheckpointError) as caught:
        require_keys((), (f"k{number:02}" for number in range(20)), "filters")
    assert str(caught.value).endswith("k06, k07 and 12 more")


@pytest.mark.parametrize("value", [[torch.zeros(1)], torch.zeros(1), {"a": 1}, {"a": None}, "x"])
def test_other_things_than_names_to_tensors(tmp_path: Path, value: object) -> None:
    """A list, a tensor alone, numbers among the tensors: refused by what they are."""
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt does not hold a mapping of names to tensors"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_files_that_were_cut_off(tmp_path: Path, name: str, share: float) -> None:
    """Wherever a download stopped, it is said, and nothing is half read."""
    (save_file if name.endswith("s") else torch.save)(TENSORS, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=name):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    """A wrong path is not called a damaged checkpoint."""
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / name)


def test_keys_that_are_no_names(tmp_path: Path) -> None:
    """Names are text; a mapping of numbers to tensors is no checkpoint."""
    torch.save({0: torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError):
        require_keys(read_tensors(tmp_path / "a.pt"), {"weights"}, "filters")
