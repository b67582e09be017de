"""Errors of the configuration at start-up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from geobento.schemas.errors import GeoBentoError, ModelStoreError, SettingsError


@contextmanager
def exit_on_config_error() -> Iterator[None]:
    """End the process with one message if a setting or the model store cannot be used.

    Raises:
        SystemExit: With the message for standard error; the exit status is 1.
    """
    try:
        yield
    except (GeoBentoError, ModelStoreError, SettingsError) as error:
        raise SystemExit(f"GeoBento does not start: {error}") from None
