"""vitrivr's API over real HTTP, answers invented."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from geobento.config.settings import Settings
from tests.compat.vitrivr_service import InventedServing, image, in_thread, result, vector

CLIP = "clip-vit-large-patch14"
TASKS = ["image-embedding", "text-embedding", "zero-shot-image-classification"]


@pytest.fixture
def serving() -> InventedServing:
    """What answers."""
    return InventedServing()


@pytest.fixture
def client(tmp_path: Path, serving: InventedServing) -> Iterator[httpx.Client]:
    """A client of a service of its own."""
    settings = Settings(data_dir=tmp_path, max_client_batch_size=20, max_jobs=3, max_body_mb=0.1)
    with in_thread(settings, serving) as started:
        yield started


def job(client: httpx.Client, task: str, body: Any, model: str = CLIP, batch: str = "") -> str:
    """A new job; the path of its result."""
    answer = client.post(f"/tasks/{task}{batch}/{model}/jobs", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "starting"
    return f"/tasks/{task}{batch}/jobs/{answer.json()['id']}"


def test_lists(client: httpx.Client) -> None:
    """Tasks, models, and which goes with which."""
    assert client.get("/tasks").json() == TASKS
    assert client.get("/models").json() == [CLIP, "dino-v2-vits14", "mosaiks"]
    assert client.get("/tasks/text-embedding/models").json() == [CLIP]
    assert client.get("/tasks/image_embedding/models").json() == [CLIP, "dino-v2-vits14", "mosaiks"]
    assert client.get(f"/models/{CLIP}/tasks").json() == TASKS
    assert client.get("/models/dino_v2_vits14/tasks").json() == ["image-embedding"]


@pytest.mark.parametrize(
    ("task", "body", "output"),
    [
        ("image-embedding", {"image": image(b"one")}, {"embedding": vector(b"one")}),
        (
            "image-embedding",
            {"image": "data:image/png;base64," + image(b"one"), "config": None},
            {"embedding": vector(b"one")},
        ),
        ("text-embedding", {"text": "two", "config": {}}, {"embedding": vector(b"two")}),
        (
            "zero-shot-image-classification",
            {"image": image(b"one"), "classes": ["a", "b"], "config": {}},
            {"probabilities": [0.5, 0.5]},
        ),
    ],
)
def test_a_job(client: httpx.Client, task: str, body: dict[str, Any], output: Any) -> None:
    """Its result can be read again, and the legacy API answers the same at once."""
    path = job(client, task, body)
    for _ in range(2):
        assert result(client, path) == {"status": "complete", "result": output}
    legacy = client.post(f"/legacy/tasks/{task}/{CLIP}/jobs", json=body)
    assert legacy.json() == output


@pytest.mark.parametrize(
    ("task", "body", "outputs"),
    [
        (
            "image-embedding",
            {"image": [image(b"one"), image(b"three")]},
            [{"embedding": vector(b"one")}, {"embedding": vector(b"three")}],
        ),
        ("text-embedding", {"text": ["two"]}, [{"embedding": vector(b"two")}]),
        (
            "zero-shot-image-classification",
            {"image": [image(b"one"), image(b"two")], "classes": ["a"]},
            [{"probabilities": [1.0]}, {"probabilities": [1.0]}],
        ),
    ],
)
def test_a_batched_job(client: httpx.Client, task: str, body: dict[str, Any], outputs: Any) -> None:
    """It has one output per input, in order, also for a single one."""
    path = job(client, task, body, batch="/batched")
    assert result(client, path) == {"status": "complete", "result": outputs}


@pytest.mark.parametrize("count", [16, 17, 20])
def test_a_long_batched_job(client: httpx.Client, count: int) -> None:
    """It goes to the pipeline in parts; outputs and numbers of bad inputs are the whole's."""
    texts = [f"{n}" * (n + 1) for n in range(count)]
    path = job(client, "text-embedding", {"text": texts}, batch="/batched")
    expected = [{"embedding": vector(text.encode())} for text in texts]
    assert result(client, path)["result"] == expected
    texts[-1] = "bad"
    path = job(client, "text-embedding", {"text": texts}, batch="/batched")
    assert f"1 of {count} inputs failed" in (detail := result(client, path)["detail"])
    assert f"input {count - 1}: this is not an image" in detail


def test_underscores_and_aliases(client: httpx.Client) -> None:
    """Names may be spelt as elsewhere in the service."""
    for model in ("clip_vit_large_patch14", "clip_vit_l_14", "clip-vit-l-14"):
        answer = client.post(f"/tasks/text_embedding/{model}/jobs", json={"text": "a"})
        path = f"/tasks/text_embedding/jobs/{answer.json()['id']}"
        assert result(client, path)["status"] == "complete"


def test_a_job_that_waits(client: httpx.Client, serving: InventedServing) -> None:
    """It has no result yet, and the model lists it."""
    path = job(client, "image-embedding", {"image": image(b"wait")})
    deadline = time.monotonic() + 20
    while (output := client.get(path).json()) != {"status": "running"}:
        assert output == {"status": "starting"}
        assert time.monotonic() < deadline
    status = client.get(f"/models/{CLIP}/status").json()
    assert status == {
        "status": "running",
        "jobs": [{"id": path.rpartition("/")[2], "status": "running"}],
    }
    serving.gate.set()
    assert result(client, path)["status"] == "complete"
    assert client.get(f"/models/{CLIP}/status").json()["jobs"] == []


def test_a_job_that_fails(client: httpx.Client) -> None:
    """It says why; defects of the service keep their cause to themselves."""
    path = job(client, "image-embedding", {"image": image(b"bad")})
    assert result(client, path) == {"status": "failed", "detail": "this is not an image"}
    path = job(client, "image-embedding", {"image": image(b"bug")})
    assert result(client, path)["detail"] == "the service failed; its log has the cause"


def test_bad_inputs_in_a_batch(client: httpx.Client) -> None:
    """The whole job fails, naming them, so that no output is taken for another's."""
    images = [image(b"one"), image(b"bad"), image(b"two"), image(b"bad 2")]
    path = job(client, "image-embedding", {"image": images}, batch="/batched")
    output = result(client, path)
    assert output["status"] == "failed"
    assert "2 of 4 inputs failed" in output["detail"]
    assert "input 1: this is not an image; input 3: this is not an image" in output["detail"]
    path = job(client, "image-embedding", {"image": 14 * [image(b"bad")]}, batch="/batched")
    assert result(client, path)["detail"].endswith("; and 4 more")


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/tasks/image-embedding/gpt/jobs", {"image": "aa=="}, 404, "available: clip-vit"),
        ("/tasks/object-detection/mosaiks/jobs", {"image": "aa=="}, 404, "available: image-emb"),
        ("/tasks/text-embedding/mosaiks/jobs", {"text": "a"}, 404, "its tasks: image-embedding"),
        ("/tasks/image-embedding/mosaiks/jobs", {"image": "%"}, 400, "image 0: this is not val"),
        (
            "/tasks/image-embedding/batched/mosaiks/jobs",
            {"image": ["YQ==", "data:image/png,YQ"]},
            400,
            "image 1: a data URL needs",
        ),
        (
            "/tasks/image-embedding/mosaiks/jobs",
            {"image": "YQ==", "config": {"size": 3}},
            400,
            "no option 'size'",
        ),
        (
            "/tasks/image-embedding/dino-v2-vits14/jobs",
            {"image": "YQ==", "config": {"preprocessing": ["x"]}},
            400,
            "accepted: native, vitrivr",
        ),
        (
            f"/tasks/text-embedding/batched/{CLIP}/jobs",
            {"text": 21 * ["a"]},
            413,
            "accepted: up to 20",
        ),
        (f"/tasks/text-embedding/{CLIP}/jobs", {"text": 200_000 * "a"}, 413, "over the limit"),
        ("/legacy/tasks/image-embedding/mosaiks/jobs", {"image": "YmFk"}, 400, "not an image"),
        ("/legacy/tasks/image-embedding/mosaiks/jobs", {"image": "YnVn"}, 500, "its log has"),
        ("/models/gpt/start", None, 404, "there is no model 'gpt'"),
        ("/tasks", None, 405, "does not accept POST"),
        ("/nothing", None, 404, "there is no /api/nothing"),
    ],
)
def test_rejected_requests(
    client: httpx.Client, path: str, body: Any, status: int, message: str
) -> None:
    """Errors are one sentence, where FastAPI puts them."""
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert message in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "problems"),
    [
        ("/{}/jobs", b"{}", [["body", "image"]]),
        ("/{}/jobs", b'{"image": 3, "size": 1}', [["body", "image"], ["body", "size"]]),
        ("/batched/{}/jobs", b'{"image": ["a", 1]}', [["body", "image", "1"]]),
        ("/batched/{}/jobs", b'{"image": []}', [["body", "image"]]),
        ("/batched/{}/jobs", b'{"image": "a"}', [["body", "image"]]),
        ("/{}/jobs", b"{", [["body"]]),
        ("/{}/jobs", b"", [["body"]]),
        ("/{}/jobs", b'{"image": "YQ==", "config": 1}', [["body", "config"]]),
    ],
)
def test_bodies_that_do_not_validate(
    client: httpx.Client, path: str, body: bytes, problems: list[list[str]]
) -> None:
    """Every problem is listed as FastAPI lists them."""
    answer = client.post("/tasks/image-embedding" + path.format("mosaiks"), content=body)
    assert answer.status_code == 422, answer.text
    output = answer.json()["detail"]
    assert [problem["loc"] for problem in output] == problems
    assert all(set(problem) == {"loc", "msg", "type"} for problem in output)


def test_classes_are_needed(client: httpx.Client) -> None:
    """The document lets them be left out, but there is nothing to compare with then."""
    for body in ({"image": "YQ=="}, {"image": "YQ==", "classes": None}):
        answer = client.post(f"/tasks/zero-shot-image-classification/{CLIP}/jobs", json=body)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "classes"]


def test_jobs_that_are_not_there(client: httpx.Client) -> None:
    """Unknown ids are 404; a job asked for at another task's path is found by the message."""
    assert client.get("/tasks/image-embedding/jobs/nothing").status_code == 404
    path = job(client, "text-embedding", {"text": "a"})
    name = path.rpartition("/")[2]
    for wrong in (
        f"/tasks/image-embedding/jobs/{name}",
        f"/tasks/text-embedding/batched/jobs/{name}",
    ):
        answer = client.get(wrong)
        assert answer.status_code == 404
        assert answer.json()["detail"].endswith(path)


def test_a_stopped_model(client: httpx.Client, serving: InventedServing) -> None:
    """It takes no new jobs until it is started; what it accepted before is done."""
    accepted = job(client, "image-embedding", {"image": image(b"wait")})
    for _ in range(2):
        stopped = client.post(f"/models/{CLIP}/stop")
        assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
    for path in (
        f"/tasks/image-embedding/{CLIP}/jobs",
        f"/legacy/tasks/text-embedding/{CLIP}/jobs",
    ):
        answer = client.post(path, json={})
        assert answer.status_code == 409
        assert f"POST /api/models/{CLIP}/start starts it" in answer.json()["detail"]
    assert client.get(f"/models/{CLIP}/status").json()["status"] == "stopped"
    assert client.get("/models/mosaiks/status").json()["status"] == "running"
    serving.gate.set()
    assert result(client, accepted)["status"] == "complete"
    assert client.post(f"/models/{CLIP}/start").json() == {"status": "running", "jobs": []}
    job(client, "image-embedding", {"image": image(b"one")})


def test_too_many_jobs(client: httpx.Client) -> None:
    """What cannot wait is refused with a time to come back; what was accepted is kept."""
    answers = [
        client.post(f"/tasks/image-embedding/{CLIP}/jobs", json={"image": image(b"wait")})
        for _ in range(30)
    ]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    assert {answer.status_code for answer in refused} == {503}
    assert int(refused[0].headers["retry-after"]) > 0
    assert "which is the limit" in refused[0].json()["detail"]
    assert len(client.get(f"/models/{CLIP}/status").json()["jobs"]) == 30 - len(refused)


def test_results_expire(tmp_path: Path, serving: InventedServing) -> None:
    """After its time a result is 404."""
    with in_thread(Settings(data_dir=tmp_path, job_ttl=0.2), serving) as client:
        path = job(client, "text-embedding", {"text": "a"})
        deadline = time.monotonic() + 20
        while client.get(path).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "deleted" in client.get(path).json()["detail"]


def test_a_restart(tmp_path: Path, serving: InventedServing) -> None:
    """Results, running jobs and stopped models are there after it."""
    settings = Settings(data_dir=tmp_path)
    with in_thread(settings, serving) as client:
        done = job(client, "text-embedding", {"text": "a"})
        assert result(client, done)["status"] == "complete"
        client.post(f"/models/{CLIP}/stop")
        held = job(client, "image-embedding", {"image": image(b"slow")}, "mosaiks")
    with in_thread(settings, serving) as client:
        assert client.get(done).json()["result"] == {"embedding": vector(b"a")}
        assert client.get(f"/models/{CLIP}/status").json()["status"] == "stopped"
        assert result(client, held)["status"] == "complete"
