"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from geobento.config import settings
from geobento.schemas.errors import SettingsError


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are separated by commas; an empty text is no value."""
    monkeypatch.setenv("GEOBENTO_MODELS", " mosaiks , rcf,")
    for name in ("STAC", "EE_PROJECT", "EE_URL", "EE_KEY_FILE"):
        monkeypatch.setenv(f"GEOBENTO_{name}", "")
    monkeypatch.setenv("GEOBENTO_DATA_DIR", "/data")
    monkeypatch.setenv("GEOBENTO_MAX_BODY_MB", "1.5")
    result = settings.load()
    assert result.models == ("mosaiks", "rcf")
    assert [result.stac, result.ee_project, result.ee_url, result.ee_key_file] == [None] * 4
    assert result.demo_archive == Path("/data/demo-archive")
    assert result.max_body_mb == 1.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_ITEMS", "many"),
        ("MAX_BODY_MB", "0"),
        ("FETCH_THREADS", "-1"),
        ("EE_PROJECT", "../else"),
        ("EE_URL", "ftp://host"),
        ("DEVICE", "tpu"),
        ("PRECISION", "int4"),
        ("RUNNER_WORKERS", "0"),
        ("RUNNER_WORKERS", "1.5"),
        ("CACHE", "perhaps"),
        ("CACHE_OPEN_HOURS", "-1"),
        ("CORS_ORIGINS", "maps.example.com"),
        ("CORS_ORIGINS", "https://maps.example.com/page"),
        ("KEY_RATE", "0"),
        ("METRICS_PORT", "70000"),
        ("EE_KEY_FILE", "/no/such/file"),
    ],
)
def test_an_unusable_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Whoever deploys learns which variable to change."""
    monkeypatch.setenv(f"GEOBENTO_{name}", value)
    with pytest.raises(SettingsError, match=f"GEOBENTO_{name}"):
        settings.load()


def test_every_setting_is_described() -> None:
    """The table in the README has a meaning for each."""
    assert all(field.description for field in settings.Settings.model_fields.values())


def test_without_an_environment() -> None:
    """Every setting has a default, and no default contacts a server."""
    result = settings.load()
    assert (result.models, result.url, result.stac) == ((), None, None)


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_a_list_of_nothing_is_empty(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """An empty variable means what its absence means."""
    monkeypatch.setenv("GEOBENTO_MODELS", text)
    assert settings.load().models == ()


def test_all_unusable_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One start of the service shows every mistake."""
    monkeypatch.setenv("GEOBENTO_MAX_CLIENT_BATCH_SIZE", "many")
    monkeypatch.setenv("GEOBENTO_REQUEST_TIMEOUT_S", "nan")
    with pytest.raises(
        SettingsError, match=r"GEOBENTO_MAX_CLIENT_BATCH_SIZE: .*; GEOBENTO_REQUEST_TIMEOUT_S"
    ):
        settings.load()


def test_a_message_has_the_value_and_what_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deploys sees what arrived; a secret does not show."""
    monkeypatch.setenv("GEOBENTO_CACHE", "perhaps")
    monkeypatch.setenv("GEOBENTO_CORS_ORIGINS", "a.example,b.example")
    monkeypatch.setenv("GEOBENTO_API_KEYS", "hunter2")
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert "GEOBENTO_CACHE: got 'perhaps'; accepted: on or off" in str(caught.value)
    assert "GEOBENTO_CORS_ORIGINS: got 'a.example,b.example'; accepted: *, or" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GEOBENTO_REQUIRE_KEY", " (did you mean GEOBENTO_REQUIRE_KEYS?)"),
        ("geobento_model", " (did you mean GEOBENTO_MODELS?)"),
        ("GEOBENTO_FOO", ""),
    ],
)
def test_a_variable_that_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    """A misspelt name is not taken for a setting that was left out."""
    monkeypatch.setenv(name, "on")
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert str(caught.value) == f"{name}: there is no such setting{meant}"


@pytest.mark.parametrize(("old", "new"), settings.RENAMED.items())
def test_an_old_name_says_the_new_one(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """A deployment written for an earlier version learns what to change."""
    monkeypatch.setenv(f"GEOBENTO_{old}", "1")
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert str(caught.value) == f"GEOBENTO_{old}: this setting is now called GEOBENTO_{new}"
    assert new.lower() in settings.Settings.model_fields


def test_variables_of_compose_are_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell that has started the containers can start the service, too."""
    monkeypatch.setenv("GEOBENTO_IMAGE", "geobento:latest")
    monkeypatch.setenv("GEOBENTO_PROFILE", "laptop")
    settings.load()
