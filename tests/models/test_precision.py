"""Number formats, and the evidence for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import precision, store
from models.execute import EncodeItem
from models.mosaiks import CARD as MOSAIKS

pytest.importorskip("transformers")

from models.clip_vit_large_patch14 import CARD as CLIP
from models.clip_vit_large_patch14 import Clip
from tests.models import small

FINE, POOR = {"cosine": 0.9999, "max_error": 0.01}, {"cosine": 0.99, "max_error": 0.1}


@pytest.mark.parametrize(
    ("wanted", "evidence", "is_fast", "chosen"),
    [
        ("auto", FINE, True, "bfloat16"),
        ("auto", FINE, False, "float32"),
        ("auto", POOR, True, "float32"),
        ("auto", None, True, "float32"),
        ("float32", FINE, True, "float32"),
        ("bfloat16", POOR, False, "bfloat16"),
    ],
)
def test_the_choice(
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    evidence: dict[str, float] | None,
    is_fast: bool,
    chosen: str,
) -> None:
    """By itself only where it is fast and was found to be harmless; a setting decides otherwise."""
    monkeypatch.setattr(precision, "is_fast", lambda device: is_fast)
    assert precision.choose(wanted, CLIP, evidence, "cpu") == chosen


def test_a_card_can_rule_it_out() -> None:
    """Whatever the setting says."""
    assert precision.choose("bfloat16", MOSAIKS, FINE, "cpu") == "float32"


def test_the_processor_is_asked() -> None:
    """The answer is what torch says of this machine."""
    names = {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    assert precision.is_fast("cpu") == bool(names & {"amx_bf16", "avx512_bf16", "sve_bf16", "bf16"})


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_bf16 rdseed\n\nprocessor : 1\nflags : fpu\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd svebf16 bf16\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx512f bmi2\nbugs\t\t: bf16\n", False),
        ("", False),
    ],
)
def test_what_linux_says_of_a_processor(tmp_path: Path, text: str, fast: bool) -> None:
    """The line of instruction sets is read, on x86 and ARM; no other is."""
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    assert bool(precision.features(file) & precision.BF16) == fast


def test_where_linux_says_nothing(tmp_path: Path) -> None:
    """Torch is asked, and agrees."""
    asked = precision.features(tmp_path / "none")
    assert bool(asked & precision.BF16) == precision.is_fast("cpu")


def test_what_is_measured_is_what_requests_get() -> None:
    """The evidence in the store bounds how far vectors of other inputs turn, and is not zero."""
    stored = small.stored(Clip)
    evidence = stored.evidence
    assert evidence is not None
    assert 0.999 < evidence["cosine"] < 1
    assert 0 < evidence["max_error"] < 0.05
    exact, rounded = stored.load(), stored.load(precision="bfloat16")
    assert rounded.precision == "bfloat16"
    assert {p.dtype for p in rounded._network.parameters()} == {torch.bfloat16}
    for modality in ("image", "text"):
        inputs = exact.model.example_inputs(modality, seed=9)
        item = EncodeItem(inputs=inputs, pooling="authors")
        (a,), (b,) = exact.run([item]), rounded.run([item])
        assert b.data.dtype == np.float32
        cosine = a.data @ b.data / np.linalg.norm(a.data) / np.linalg.norm(b.data)
        assert 0.999 < cosine < 1 - 1e-9


def test_no_evidence_where_there_is_no_choice(mosaiks_stored: store.StoredModel) -> None:
    """A model that stays in float32 is not measured."""
    assert mosaiks_stored.evidence is None
    assert mosaiks_stored.precision("bfloat16", "cpu") == "float32"
