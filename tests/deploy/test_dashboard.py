"""The dashboard and the alerts, against the metrics of a live service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from geobento.observability import metrics
from models.weights.stored_model import StoredModel
from tests.conftest import ROOT
from tests.servers import serving

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "geobento.json").read_text())
SELECTOR = re.compile(r"\b((?:geobento|bentoml)_\w+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
DEFINED = {
    next(iter(metric.describe())).name: set(metric._labelnames)
    for metric in vars(metrics).values()
    if isinstance(metric, MetricWrapperBase)
}
"""Our metrics, and their labels."""
OF_PROMETHEUS = {"instance", "le", "job", "namespace", "pod"}
"""Labels that are not the service's, or of buckets alone."""


def queries() -> list[str]:
    """Every Prometheus query about the service."""
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = [variable["query"] for variable in DASHBOARD["templating"]["list"]]
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    alerts = [rule["expr"] for group in groups for rule in group["rules"]]
    alerts = [expression for expression in alerts if "up{" not in expression]
    adapter = yaml.safe_load((DEPLOY / "kubernetes" / "queue" / "adapter.yaml").read_text())
    rules = adapter["rules"]["custom"]
    return [*panels, *variables, *alerts, *(rule["seriesQuery"] for rule in rules)]


def expected_metrics(query: str) -> list[tuple[str, set[str]]]:
    """Metrics of a query, each with the labels that it is expected to have."""
    grouped = {name.strip() for result in GROUPED.findall(query) for name in result.split(",")}
    selected = SELECTOR.findall(query)
    return [
        (metric, (set(re.findall(r"(\w+)\s*[=!]", labels)) | grouped) - OF_PROMETHEUS)
        for metric, labels in selected
    ]


@pytest.mark.slow
def test_every_metric_of_a_query_exists(
    tmp_path: Path, mosaiks_stored: StoredModel, demo_archive: Path
) -> None:
    """Every metric and label of every query is among those that the service has."""
    image = (ROOT / "tests" / "data" / "field.jpg").read_bytes()
    region = json.loads((ROOT / "tests" / "data" / "region.json").read_text())
    with serving(tmp_path / "log", GEOBENTO_MODELS=mosaiks_stored.tag) as client:
        upload: dict[str, Any] = {"files": {"images": image}}
        assert client.post("/image_embedding", data={"model": "mosaiks"}, **upload).is_success
        assert client.post("/geo_embedding", json=region).is_success
        assert client.post("/image_embedding", json={}).status_code == 400
        text = client.get("/metrics").text
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for query in queries():
        result = expected_metrics(query)
        assert result, query
        for metric, expected in result:
            if metric in labels:
                assert expected <= labels[metric], query
            else:  # has not happened in this service
                assert expected <= DEFINED[metric.removesuffix("_total")], query


def test_panels_do_not_overlap() -> None:
    """No two panels cover the same cells of the grid or have the same id."""
    taken = [
        (x, y)
        for region in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(region["x"], region["x"] + region["w"])
        for y in range(region["y"], region["y"] + region["h"])
    ]
    assert len(taken) == len(set(taken))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
