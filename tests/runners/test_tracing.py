"""Whether spans are made."""

from __future__ import annotations

import pytest

from geobento.schemas.errors import SettingsError
from runners import tracing


@pytest.mark.parametrize("name", tracing.ENDPOINT_VARIABLES)
@pytest.mark.parametrize(
    ("share", "rate"), [({}, 1.0), ({tracing.SAMPLE_RATE_VARIABLE: "0.25"}, 0.25)]
)
def test_spans_go_where_opentelemetry_says(name: str, share: dict[str, str], rate: float) -> None:
    """One of its variables turns them on, and another says how many there are."""
    reported = tracing.tracing_options({name: "http://collector:4318", **share}, can_export=True)
    assert (reported["exporter_type"], reported["otlp"]) == ("otlp", {"protocol": "http"})
    assert reported["sample_rate"] == rate


@pytest.mark.parametrize("environment", [{}, {tracing.ENDPOINT_VARIABLES[0]: ""}])
def test_no_spans_without_a_collector(environment: dict[str, str]) -> None:
    """They take time."""
    assert tracing.tracing_options(environment, can_export=True) == tracing.DISABLED


@pytest.mark.parametrize("name", tracing.BENTOML_CONFIG_VARIABLES)
def test_what_a_deployer_configures_stands(name: str) -> None:
    """Nothing is said where something is said to BentoML."""
    assert (
        tracing.tracing_options(
            {name: "mine", tracing.ENDPOINT_VARIABLES[0]: "http://collector:4318"}
        )
        == {}
    )


def test_no_spans_without_the_exporter(caplog: pytest.LogCaptureFixture) -> None:
    """The service runs, and says what to install."""
    collector = {tracing.ENDPOINT_VARIABLES[0]: "http://collector:4318"}
    assert tracing.tracing_options(collector, can_export=False) == tracing.DISABLED
    assert "geobento[tracing]" in caplog.text


@pytest.mark.parametrize("share", ["some", "-0.1", "1.5", "nan"])
def test_a_share_that_cannot_be(share: str) -> None:
    """It stops the start."""
    with pytest.raises(SettingsError, match=tracing.SAMPLE_RATE_VARIABLE):
        tracing.tracing_options(
            {tracing.ENDPOINT_VARIABLES[0]: "http://c:4318", tracing.SAMPLE_RATE_VARIABLE: share},
            can_export=True,
        )
