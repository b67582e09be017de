"""The table of Python functions, from the package."""

from __future__ import annotations

import inspect

import geobento
from docs.markdown import table


def functions_table() -> str:
    """One row per public function: its name and the first line of its docstring."""
    rows = []
    for name in sorted(geobento.__all__):
        value = getattr(geobento, name)
        if inspect.isfunction(value):
            rows.append((f"`{name}`", (inspect.getdoc(value) or "").partition("\n")[0]))
    return table(("function", "what it does"), rows)
