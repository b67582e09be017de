"""What BentoML's supervisor is told."""

from __future__ import annotations

import os

import circus.arbiter
import pytest
from bentoml._internal.utils.circus import create_standalone_arbiter

from runners.bentoml_patches import supervisor


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is afterwards as it was before."""
    original = circus.arbiter.Arbiter.__init__
    original = getattr(original, "__wrapped__", original)
    monkeypatch.setattr(circus.arbiter.Arbiter, "__init__", original)
    monkeypatch.setenv("BENTOML_CONTAINERIZED", "")
    monkeypatch.delenv("BENTOML_CONTAINERIZED")


def test_the_dead_are_looked_for_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor that BentoML makes has our period, also when told twice, and no container."""
    monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
    supervisor.patch_supervisor()
    supervisor.patch_supervisor()
    arbiter = create_standalone_arbiter([])
    assert arbiter.check_delay == supervisor.CHECK_DELAY_S
    assert "BENTOML_CONTAINERIZED" not in os.environ
