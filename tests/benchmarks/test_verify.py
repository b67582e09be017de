"""Verification of answers: right, wrong, rejected."""

from __future__ import annotations

import base64

import numpy as np
import orjson
import pytest

from benchmarks.verify import ResponseVerifier, Vector

EXACT = np.array([1, 0, 0], np.float32)


def body(vector: Vector) -> bytes:
    data = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return orjson.dumps({"embeddings": [{"data": data}]})


@pytest.mark.parametrize(
    ("vector", "outcome"),
    [([2, 0.01, 0], "200"), ([1, 0.1, 0], "wrong"), ([-1, 0, 0], "wrong")],
)
def test_an_answer_is_right_if_its_direction_is(vector: list[float], outcome: str) -> None:
    """A benchmark does not count vectors that are not those of float32, whatever their length."""
    judge = ResponseVerifier([EXACT])
    assert judge(0, 200, b"", body(np.array(vector))) == outcome


def test_the_smallest_cosine_of_all_answers_is_kept() -> None:
    """The table tells of the worst answer, not of the last."""
    judge = ResponseVerifier([EXACT, -EXACT])
    for position, vector in ((0, [1, 1, 0]), (1, [-1, 0, 0])):
        judge(position, 200, b"", body(np.array(vector)))
    assert judge.min_cosine == pytest.approx(0.5**0.5)


def test_refusals_have_to_say_when_to_come_back() -> None:
    """A refusal without `Retry-After` is an outcome of its own, as is every other status."""
    judge = ResponseVerifier([EXACT])
    assert judge(0, 503, b"HTTP/1.1 503\r\nRetry-After: 1\r\n", b"") == "503"
    assert judge(0, 503, b"HTTP/1.1 503\r\n", b"") == "503 without Retry-After"
    assert judge(0, 500, b"", b"") == "500"
