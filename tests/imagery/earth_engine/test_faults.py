"""Errors of Earth Engine: retries, quotas, deadlines."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geobento.schemas.errors import (
    GeoBentoError,
    ModelError,
    PayloadTooLarge,
    SourceError,
)
from geobento.schemas.sample import Sample
from imagery.earth_engine.source import EarthEngineSource
from tests.imagery.catalogs import GRID
from tests.imagery.conftest import open_client
from tests.imagery.earth_engine.scenes import sample_or_error
from tests.imagery.ee_server import Fault, Standin
from tests.imagery.queries import bands_of, query, scene
from tests.imagery.world import shifted


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, "Too Many Requests"),
        Fault(500, "An internal error has occurred"),
        Fault(502, "Bad gateway"),
        Fault(503, "The service is currently unavailable"),
        Fault(504, "Deadline exceeded"),
        Fault(truncated=True),
        Fault(damaged=True),
    ],
)
def test_temporary_failures_are_retried(
    standin: Standin, source: EarthEngineSource, waits: list[float], fault: Fault
) -> None:
    """One failure of either request changes nothing about the pixels."""
    standin.scenes = [scene(10)]
    standin.faults = [fault, None, fault, fault, None]
    sample = source.fetch(query())
    np.testing.assert_array_equal(sample.pixels, bands_of(scene(10)))
    assert len(standin.requests) == 5
    assert len(waits) == 3


def test_retry_after_is_waited_for(standin: Standin, source: EarthEngineSource) -> None:
    """No request begins before the time that the server asked for."""
    standin.scenes = [scene(10)]
    standin.faults = [Fault(429, "Too Many Requests", {"Retry-After": "1"})]
    source.fetch(query())
    first, second, _ = standin.requests
    assert second.begun - first.begun >= 1


def test_a_quota_that_stays_used_up(standin: Standin, tmp_path: Path, waits: list[float]) -> None:
    """The error names Earth Engine and has `retry_after`; until then no request is sent."""
    source = EarthEngineSource(open_client(standin, tmp_path), timeout_s=20)
    standin.scenes = [scene(10)]
    standin.fault = lambda: Fault(429, "Quota exceeded")
    with pytest.raises(SourceError, match="Earth Engine answered 429") as caught:
        source.fetch(query())
    assert caught.value.retry_after == 10
    standin.fault = lambda: Fault(429, "Quota exceeded", {"Retry-After": "60"})
    with pytest.raises(SourceError) as caught:
        source.fetch(query())
    assert caught.value.retry_after == 60
    request = len(standin.requests)
    with pytest.raises(SourceError, match="by its own word"):
        source.fetch(query())
    assert len(standin.requests) == request


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(400, "Something is invalid."), "answered 400: Something is invalid."),
        (Fault(403, "Caller does not have required permission"), "earthengine authenticate"),
        (Fault(401, "bad credentials"), "earthengine authenticate"),
        (Fault(404, "Not found"), "answered 404"),
        (Fault(302, "elsewhere", {"Location": "http://127.0.0.1:9/"}), "answered 302"),
    ],
)
def test_permanent_failures_are_not_retried(
    standin: Standin, source: EarthEngineSource, fault: Fault, message: str
) -> None:
    """Permanent failures are raised after one request."""
    standin.faults = [fault]
    with pytest.raises(SourceError, match=message):
        source.fetch(query())
    assert len(standin.requests) == 1


def test_a_band_that_scenes_lack(standin: Standin, source: EarthEngineSource) -> None:
    """Old NAIP scenes have no infrared: an error of the request, not of the source."""
    standin.scenes = [scene(10)]
    standin.faults = [None, Fault(400, "Image.select: Band pattern 'N' did not match any bands.")]
    with pytest.raises(ModelError, match="'N'"):
        source.fetch(query())


def test_nothing_lasts_past_its_deadline(standin: Standin, tmp_path: Path) -> None:
    """A server that is silent, or always busy, is named when the time is over."""
    impatient = EarthEngineSource(open_client(standin, tmp_path), timeout_s=0.3)
    standin.faults = [Fault(delay_s=1.0)]
    begun = time.monotonic()
    with pytest.raises(SourceError, match="did not answer"):
        impatient.fetch(query())
    standin.fault = lambda: Fault(503, "unavailable", {"Retry-After": "1"})
    with pytest.raises(SourceError, match="answered 503"):
        impatient.fetch(query())
    assert time.monotonic() - begun < 10
    assert len(standin.requests) == 2


def retry_waits(standin: Standin) -> list[float]:
    """Seconds between a rejected request for pixels with `Retry-After` and its next attempt."""
    attempts: dict[str, list[Any]] = {}
    for request in standin.calls("computePixels"):
        attempts.setdefault(str(request.body["grid"]), []).append(request)
    return [
        retry.begun - rejected.begun
        for requests in attempts.values()
        for rejected, retry in pairwise(requests)
        if rejected.fault.headers
    ]


@pytest.mark.parametrize("count", [24, pytest.param(300, marks=pytest.mark.slow)])
def test_under_faults_every_answer_is_right(standin: Standin, tmp_path: Path, count: int) -> None:
    """A third of all answers go wrong: every region gets its pixels or a named error, no more is in
    flight than allowed, no retry is early, and nothing lasts past its deadline.
    """
    timeout_s, later_s = 30.0, 1.0
    # Neither the regions nor the halves and quarters of any two of them are the same.
    whole = shifted(GRID, 0, 0, 60, 55)
    regions = [(number % 20, number // 20) for number in range(count)]
    standin.scenes = [scene(day, cloudy=True, grid=whole) for day in (1, 2, 3)]
    chance = random.Random(7)
    kinds = [
        Fault(503, "unavailable"),
        Fault(429, "Too Many Requests"),
        Fault(400, "User memory limit exceeded."),
        Fault(truncated=True),
        Fault(damaged=True),
        Fault(delay_s=0.05),
    ]

    def fault() -> Fault | None:
        if chance.random() < 0.01:
            return Fault(429, "Too Many Requests", {"Retry-After": f"{later_s:.0f}"})
        return chance.choice(kinds) if chance.random() < 0.3 else Fault(delay_s=0.01)

    limited = EarthEngineSource(open_client(standin, tmp_path, in_flight=3), timeout_s=timeout_s)
    expected = limited.fetch(query(whole))
    standin.requests, standin.fault = [], fault

    def fetch(region: tuple[int, int]) -> tuple[Sample | GeoBentoError, float]:
        row, column = region
        begun = time.monotonic()
        answer = sample_or_error(limited, query(shifted(GRID, column, row, 40, 40)))
        return answer, time.monotonic() - begun

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(fetch, regions))
    assert standin.max_in_flight == 3
    assert max(lasted for _, lasted in answers) < timeout_s + 10
    right = 0
    for (row, column), (answer, _) in zip(regions, answers, strict=True):
        # A search cannot be split, and a small grid not for long: these alone may fail.
        if isinstance(answer, GeoBentoError):
            assert isinstance(answer, SourceError | PayloadTooLarge)
            continue
        right += 1
        part = np.s_[..., row : row + 40, column : column + 40]
        np.testing.assert_array_equal(answer.pixels, expected.pixels[part])
        np.testing.assert_array_equal(answer.valid, expected.valid[part])  # type: ignore[index]
    assert right > count / 2
    waited = retry_waits(standin)
    assert min(waited, default=later_s) >= later_s
    assert waited or count < 300
