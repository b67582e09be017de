"""The patches fit the installed BentoML."""

from __future__ import annotations

import inspect
from importlib import metadata
from pathlib import Path

import circus.arbiter
import pytest

from runners import bentoml_patches
from tests.conftest import ROOT

PRIVATE = ("_bentoml_", "bentoml._internal", "import circus", "circus.")
PACKAGES = ("compat", "geobento", "imagery", "inference", "models", "pipeline", "runners", "server")
ALLOWED = {
    ROOT / "models" / "weights" / "registration.py",  # the model store has no public rename
    ROOT / "server" / "logging.py",  # names of loggers
}


def test_the_installed_version_is_in_the_range() -> None:
    """A new version of BentoML fails here first; read its changes before you extend the range."""
    assert metadata.version("bentoml") in bentoml_patches.BENTOML_VERSIONS


def test_a_version_outside_of_the_range_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The service starts with it, and the log says what was not tested."""
    bentoml_patches.check_version()
    assert not caplog.records
    monkeypatch.setattr(bentoml_patches, "BENTOML_VERSIONS", ("1.0.0",))
    bentoml_patches.check_version()
    assert "1.0.0" in caplog.text
    assert metadata.version("bentoml") in caplog.text


def test_the_arbiter_takes_a_check_delay() -> None:
    """The supervisor's check interval is a parameter of circus."""
    original = inspect.unwrap(circus.arbiter.Arbiter.__init__)
    assert "check_delay" in inspect.signature(original).parameters


@pytest.mark.parametrize("variable", ["BENTOML_CONTAINERIZED", "BENTOML_RUNNER_MAP"])
def test_bentoml_uses_the_variables(variable: str) -> None:
    """The patches of the supervisor and of the shutdown depend on two variables of BentoML."""
    import _bentoml_impl
    import bentoml

    roots = [Path(module.__file__ or "").parent for module in (_bentoml_impl, bentoml)]
    assert any(
        variable in file.read_text() for root in roots for file in sorted(root.rglob("*.py"))
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_private_parts_are_used_in_one_package(package: str) -> None:
    """Other code uses BentoML's public interface alone."""
    patches = ROOT / "runners" / "bentoml_patches"
    for file in sorted((ROOT / package).rglob("*.py")):
        if patches in file.parents or file in ALLOWED:
            continue
        assert not any(name in file.read_text() for name in PRIVATE), file
