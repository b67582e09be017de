"""The profiles of settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from dotenv import dotenv_values

from geobento.config import settings
from tests.conftest import ROOT

PROFILES = sorted((ROOT / "deploy" / "profiles").glob("*.env"))


def test_there_are_three() -> None:
    """One for each kind of machine that the docs speak of."""
    assert [file.stem for file in PROFILES] == ["cpu-node", "gpu-node", "laptop"]


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.stem)
def test_a_profile_is_what_the_settings_take(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Every line is a setting, with a value that is taken as it stands there."""
    values = {name: value or "" for name, value in dotenv_values(file).items()}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    loaded = settings.load()
    for name, value in values.items():
        taken = getattr(loaded, name.removeprefix("GEOBENTO_").lower())
        assert taken == type(taken)(value)
