"""Reading files that may come from anywhere."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoints import CheckpointError, read, require_keys

TENSORS = {"weights": torch.arange(4.0)}


def test_both_formats(tmp_path: Path) -> None:
    """safetensors, and torch.save of names to tensors."""
    save_file(TENSORS, tmp_path / "a.safetensors")
    torch.save(TENSORS, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        assert torch.equal(read(tmp_path / name)["weights"], TENSORS["weights"])


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
            read(tmp_path / name)
    assert not witness.exists()


def test_files_that_are_something_else(tmp_path: Path) -> None:
    """Cut off, nested, no checkpoint at all: a clear error."""
    save_file(TENSORS, tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:20])
    torch.save({"model": TENSORS}, tmp_path / "nested.pt")
    (tmp_path / "text.pt").write_text("hello")
    for name in ("cut.safetensors", "nested.pt", "text.pt"):
        with pytest.raises(CheckpointError, match=name):
            read(tmp_path / name)


def test_keys_are_named() -> None:
    """What is missing and what is too much stand in the message."""
    require_keys(["a", "b"], ["b", "a"], "x")
    with pytest.raises(CheckpointError, match="missing c; unexpected b"):
        require_keys(["a", "b"], ["a", "c"], "x")
