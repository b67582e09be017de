"""Whether spans are made."""

from __future__ import annotations

import pytest

from geobento.errors import SettingsError
from runners import spans


@pytest.mark.parametrize("name", spans.COLLECTORS)
@pytest.mark.parametrize(("share", "rate"), [({}, 1.0), ({spans.SHARE: "0.25"}, 0.25)])
def test_spans_go_where_opentelemetry_says(name: str, share: dict[str, str], rate: float) -> None:
    """One of its variables turns them on, and another says how many there are."""
    told = spans.options({name: "http://collector:4318", **share}, can_export=True)
    assert (told["exporter_type"], told["otlp"]) == ("otlp", {"protocol": "http"})
    assert told["sample_rate"] == rate


@pytest.mark.parametrize("environment", [{}, {spans.COLLECTORS[0]: ""}])
def test_no_spans_for_nobody(environment: dict[str, str]) -> None:
    """They take time."""
    assert spans.options(environment, can_export=True) == spans.NONE


@pytest.mark.parametrize("name", spans.CONFIGURED)
def test_what_a_deployer_configures_stands(name: str) -> None:
    """Nothing is said where something is said to BentoML."""
    assert spans.options({name: "mine", spans.COLLECTORS[0]: "http://collector:4318"}) == {}


def test_no_spans_without_the_exporter(caplog: pytest.LogCaptureFixture) -> None:
    """The service runs, and says what to install."""
    collector = {spans.COLLECTORS[0]: "http://collector:4318"}
    assert spans.options(collector, can_export=False) == spans.NONE
    assert "geobento[tracing]" in caplog.text


@pytest.mark.parametrize("share", ["some", "-0.1", "1.5", "nan"])
def test_a_share_that_cannot_be(share: str) -> None:
    """It stops the start."""
    with pytest.raises(SettingsError, match=spans.SHARE):
        spans.options({spans.COLLECTORS[0]: "http://c:4318", spans.SHARE: share}, can_export=True)
