"""Number formats, and the evidence for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference import precision
from inference.batches import EncodeItem
from inference.engines.quantized_linear import supports_quantization
from models.mosaiks.model import Mosaiks
from models.weights import store

pytest.importorskip("transformers")

from models.clip.openai import Clip
from models.dinov2.model import DinoV2
from tests.models import small

MOSAIKS = Mosaiks.card
CLIP = Clip.card

FINE, POOR = {"cosine": 0.9999, "max_error": 0.01}, {"cosine": 0.99, "max_error": 0.1}
ROUNDED, TURNED = {"bfloat16": FINE}, {"bfloat16": POOR}
WHOLE, LOST = ROUNDED | {"int8": FINE}, ROUNDED | {"int8": POOR}


@pytest.mark.parametrize(
    ("wanted", "evidence", "is_fast", "chosen"),
    [
        ("auto", WHOLE, True, "bfloat16"),
        ("auto", WHOLE, False, "float32"),
        ("auto", TURNED, True, "float32"),
        ("auto", {}, True, "float32"),
        ("float32", WHOLE, True, "float32"),
        ("bfloat16", TURNED, False, "bfloat16"),
        ("int8", WHOLE, True, "int8"),
        ("int8", WHOLE, False, "int8"),
        ("int8", LOST, True, "bfloat16"),
        ("int8", ROUNDED, True, "bfloat16"),
        ("int8", TURNED | {"int8": FINE}, True, "float32"),
        ("int8", {}, True, "float32"),
    ],
)
def test_the_choice(
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    evidence: precision.Calibration,
    is_fast: bool,
    chosen: str,
) -> None:
    """By itself only where it is fast and was found to be harmless; a setting decides otherwise."""
    monkeypatch.setattr(precision, "has_bf16_hardware", lambda device: is_fast)
    monkeypatch.setattr(precision, "has_int8_hardware", lambda device: True)
    assert precision.choose_precision(wanted, CLIP, evidence, "cpu") == chosen


@pytest.mark.parametrize("wanted", ["bfloat16", "int8"])
def test_a_card_can_rule_it_out(wanted: str) -> None:
    """Whatever the setting says."""
    assert precision.choose_precision(wanted, MOSAIKS, WHOLE, "cpu") == "float32"


def test_int8_needs_a_processor_that_adds_up_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones cut sums off, and GPUs are not asked for it."""
    monkeypatch.setattr(precision, "has_bf16_hardware", lambda device: True)
    monkeypatch.setattr(precision, "cpu_flags", lambda: {"avx512f", "avx512_bf16"})
    assert precision.choose_precision("int8", CLIP, WHOLE, "cpu") == "bfloat16"
    monkeypatch.setattr(precision, "cpu_flags", lambda: {"avx512_vnni"})
    assert precision.choose_precision("int8", CLIP, WHOLE, "cuda") == "bfloat16"
    if supports_quantization():
        assert precision.choose_precision("int8", CLIP, WHOLE, "cpu") == "int8"


def test_the_processor_is_asked() -> None:
    """The answer is what torch says of this machine."""
    names = {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    assert precision.has_bf16_hardware("cpu") == bool(
        names & {"amx_bf16", "avx512_bf16", "sve_bf16", "bf16"}
    )


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
    assert bool(precision.cpu_flags(file) & precision.BF16_CPU_FLAGS) == fast


def test_where_linux_says_nothing(tmp_path: Path) -> None:
    """Torch is asked, and agrees."""
    asked = precision.cpu_flags(tmp_path / "none")
    assert bool(asked & precision.BF16_CPU_FLAGS) == precision.has_bf16_hardware("cpu")


def test_what_is_measured_is_what_requests_get() -> None:
    """The evidence in the store bounds how far vectors of other inputs turn, and is not zero."""
    stored = small.stored(Clip)
    evidence = stored.calibration["bfloat16"]
    assert 0.999 < evidence["cosine"] < 1
    assert 0 < evidence["max_error"] < 0.05
    exact, rounded = stored.load(), stored.load(precision="bfloat16")
    assert rounded.precision == "bfloat16"
    assert {p.dtype for p in rounded._network.parameters()} == {torch.bfloat16}
    for modality in ("image", "text"):
        inputs = exact.model.example_inputs(modality, seed=9)
        item = EncodeItem(inputs=inputs, pooling="native")
        (a,), (b,) = exact.run([item]), rounded.run([item])
        assert b.data.dtype == np.float32
        cosine = a.data @ b.data / np.linalg.norm(a.data) / np.linalg.norm(b.data)
        assert 0.999 < cosine < 1 - 1e-9


def test_no_evidence_where_there_is_no_choice(mosaiks_stored: store.StoredModel) -> None:
    """A model that stays in float32 is not measured."""
    assert not mosaiks_stored.calibration
    assert mosaiks_stored.resolve_precision("bfloat16", "cpu") == "float32"


@pytest.mark.skipif(not precision.has_int8_hardware("cpu"), reason="the processor does not")
def test_int8_is_measured_and_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network with large layers; the evidence is another one than that for bfloat16."""
    sizes: dict[str, Any] = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
    monkeypatch.setattr(small, "SIZES", {DinoV2: sizes})
    stored = small.stored(DinoV2)
    evidence = stored.calibration
    assert 0.99 < evidence["int8"]["cosine"] < evidence["bfloat16"]["cosine"] < 1
    exact, rounded = stored.load(), stored.load(precision="int8")
    assert rounded.precision == "int8"
    item = EncodeItem(inputs=exact.model.example_inputs("image", seed=9), pooling="native")
    (a,), (b,) = exact.run([item]), rounded.run([item])
    cosine = a.data @ b.data / np.linalg.norm(a.data) / np.linalg.norm(b.data)
    assert 0.99 < cosine < 1 - 1e-9


def test_small_networks_have_nothing_for_int8() -> None:
    """What is not there is not measured, and not said to be used."""
    stored = small.stored(Clip)
    assert "int8" not in stored.calibration
    assert stored.load(precision="int8").precision != "int8"
    assert stored.resolve_precision("int8", "cpu") == stored.resolve_precision("auto", "cpu")


def test_what_could_not_be_measured_is_added_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an import on a processor that can; the weights, and when they were saved, stay."""
    sizes: dict[str, Any] = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2}
    monkeypatch.setattr(small, "SIZES", {DinoV2: sizes})
    with monkeypatch.context() as older:
        older.setattr(store, "has_int8_hardware", lambda device: False)
        before = small.stored(DinoV2)
        assert "int8" not in before.metadata
        assert small.stored(DinoV2) == before
    if not precision.has_int8_hardware("cpu"):
        return
    with ThreadPoolExecutor(3) as pool:  # several at a time may
        found = list(pool.map(small.stored, [DinoV2] * 3))
    assert all(one.calibration.keys() == {"bfloat16", "int8"} for one in found)
    after = small.stored(DinoV2)
    assert after.calibration["int8"]["cosine"] > 0.99
    assert after.calibration["bfloat16"] == before.calibration["bfloat16"]
    assert {**before.metadata, "int8": after.metadata["int8"]} == after.metadata
    assert (after.tag, after.path, after.created) == (before.tag, before.path, before.created)
    assert store.get_model(after.tag) == after
    assert {file.name for file in after.path.iterdir()} == {
        *("model.yaml", store.WEIGHTS_FILE, store.CONFIG_FILE)
    }
    after.load()
