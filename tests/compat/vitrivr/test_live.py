"""vitrivr's API on the whole service: real models, a real crash."""

from __future__ import annotations

import base64
import os
import signal
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from geobento.schemas import serialization
from models.weights.stored_model import StoredModel
from tests.compat.vitrivr_service import result
from tests.conftest import ROOT
from tests.servers import serving

FIELD = base64.b64encode((ROOT / "tests" / "data" / "field.jpg").read_bytes()).decode()
CLIP = "clip-vit-large-patch14"
ACCEPTED = 20


def job(client: httpx.Client, task: str, model: str, body: dict[str, Any]) -> str:
    """A new job; the path of its result."""
    answer = client.post(f"/api/tasks/{task}/{model}/jobs", json=body)
    assert answer.status_code == 200, answer.text
    return f"/api/tasks/{task}/jobs/{answer.json()['id']}"


def test_the_numbers_are_those_of_our_own_endpoints(small_service: httpx.Client) -> None:
    """Jobs and answers at once give the vectors and probabilities of the typed endpoints."""
    own = small_service.post("/image_embedding", json={"model": "clip_vit_l_14", "images": [FIELD]})
    (embedding,) = serialization.decode_embeddings(own.content)
    state = result(small_service, job(small_service, "image-embedding", CLIP, {"image": FIELD}))
    np.testing.assert_allclose(state["result"]["embedding"], embedding.data, atol=1e-6)  # type: ignore[union-attr]

    legacy = small_service.post(
        f"/api/legacy/tasks/text-embedding/{CLIP}/jobs", json={"text": "a field"}
    )
    own = small_service.post(
        "/text_embedding", json={"model": "clip_vit_l_14", "texts": ["a field"]}
    )
    (embedding,) = serialization.decode_embeddings(own.content)
    np.testing.assert_allclose(legacy.json()["embedding"], embedding.data, atol=1e-6)  # type: ignore[union-attr]

    request = {"image": FIELD, "classes": ["forest", "harbour"]}
    path = job(small_service, "zero-shot-image-classification", CLIP, request)
    own = small_service.post(
        "/zero_shot_classification",
        json={"model": "clip_vit_l_14", "images": [FIELD], "classes": request["classes"]},
    )
    (output,) = serialization.decode_classifications(own.content)
    np.testing.assert_allclose(
        result(small_service, path)["result"]["probabilities"],
        output.probabilities,  # type: ignore[union-attr]
        atol=1e-6,
    )


def test_errors_have_the_shape_that_clients_expect(small_service: httpx.Client) -> None:
    """Also those of other layers: no such route, a wrong method, a body over the limit."""
    too_large = b'{"image": "' + b"A" * (65 * 2**20) + b'"}'
    for answer, status in (
        (small_service.get("/api/none"), 404),
        (small_service.get(f"/api/models/{CLIP}/start"), 405),
        (small_service.get("/api/tasks/image-embedding/jobs/none"), 404),
        (small_service.post(f"/api/tasks/image-embedding/{CLIP}/jobs", content=too_large), 413),
    ):
        assert answer.status_code == status, answer.text
        assert isinstance(answer.json()["detail"], str)


@pytest.mark.slow
def test_no_accepted_job_is_forgotten(tmp_path: Path, mosaiks_stored: StoredModel) -> None:
    """The service is killed with jobs accepted; after a restart every one of them ends."""
    demo = Path(os.environ["GEOBENTO_DATA_DIR"]) / "demo-archive"
    demo.mkdir(parents=True, exist_ok=True)
    (tmp_path / "demo-archive").symlink_to(demo)

    def service(log: str) -> AbstractContextManager[httpx.Client]:
        return serving(
            tmp_path / log, GEOBENTO_MODELS=mosaiks_stored.tag, GEOBENTO_DATA_DIR=str(tmp_path)
        )

    with service("first") as client:
        body = {"image": FIELD}
        paths = [job(client, "image-embedding", "mosaiks", body) for _ in range(ACCEPTED)]
        (served,) = [
            process
            for process in psutil.Process().children()
            if str(client.base_url.port) in process.cmdline()
        ]
        everything = [served, *served.children(recursive=True)]
        for process in everything:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(everything, 10)
    with service("second") as client:
        states = [result(client, path) for path in paths]
    assert {state["status"] for state in states} <= {"complete", "failed"}
    complete = [state["result"]["embedding"] for state in states if state["status"] == "complete"]
    assert len(complete) == ACCEPTED
    assert all(len(vector) == 1024 for vector in complete)
