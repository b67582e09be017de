"""The table of metrics, from their definitions."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from docs.markdown import code, table
from geobento.observability import metrics


def metrics_table() -> str:
    """One row per metric: its name in Prometheus, its labels, what it is."""
    rows = []
    for value in vars(metrics).values():
        if isinstance(value, Counter | Gauge | Histogram):
            (family,) = value.describe()
            suffix = "_total" if isinstance(value, Counter) else ""
            labels = getattr(value, "_labelnames", ())
            rows.append((f"`{family.name}{suffix}`", code(labels), family.documentation))
    return table(("metric", "labels", "meaning"), sorted(rows))
