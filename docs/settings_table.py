"""The table of settings, from the settings class."""

from __future__ import annotations

from docs.markdown import code, table
from geobento.config.settings import PREFIX, Settings


def settings_table() -> str:
    """One row per variable."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if name == "data_dir":
            default = "~/.geobento"  # the same on every machine
        if isinstance(default, bool):
            default = "on" if default else "off"
        shown = "" if default in (None, ()) else code([str(default)])
        rows.append((f"`{PREFIX}{name.upper()}`", shown, field.description or ""))
    return table(("variable", "default", "meaning"), rows)
