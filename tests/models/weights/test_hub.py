"""Importing from the hub, against a local server that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import save_file

from models.clip.openai import Clip
from models.dinov2.model import DinoV2
from models.preprocessing import text
from tests.conftest import ROOT
from tests.models import small

pytest.importorskip("transformers")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves files of one repository."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], gated: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.gated = files, gated
        self.requests: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        name = self.path.rpartition("/")[2]
        content = self.server.files.get(name)
        if self.server.gated or content is None:
            self.send_response(401 if self.server.gated else 404)
            self.send_header("X-Error-Code", "GatedRepo" if self.server.gated else "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""


@contextmanager
def hub(files: dict[str, bytes], gated: bool = False) -> Iterator[tuple[Hub, str]]:
    """A hub and its address."""
    with Hub(files, gated) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield listening, f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()


def run(tmp_path: Path, endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`geobento models ...` in a process of its own: the hub's client reads its address once."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }
    command = [sys.executable, "-m", "geobento", "models", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def release(tmp_path: Path) -> dict[str, bytes]:
    """A small DINOv2 as the hub has it: the library's old names, the table of 37 x 37."""
    config = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = DinoV2(DinoV2.default_config("hub") | config)
    tensors = {}
    for name, tensor in DinoV2.seeded_state_dict(model.config).items():
        for old, new in (("query", "q"), ("key", "k"), ("value", "v")):
            name = name.replace(f"attention.{new}_proj", f"attention.attention.{old}")  # noqa: PLW2901
        tensors[name.replace("attention.o_proj", "attention.output.dense")] = tensor
    tensors["embeddings.position_embeddings"] = torch.randn(1, 1 + 37 * 37, 12)
    file = tmp_path / "release.safetensors"
    save_file(tensors, file)
    record = {"model_type": "dinov2", **config}
    return {"model.safetensors": file.read_bytes(), "config.json": json.dumps(record).encode()}


def test_a_model_comes_from_the_hub(tmp_path: Path) -> None:
    """Both files are fetched, converted and stored with the commit that they are from."""
    with hub(release(tmp_path)) as (listening, endpoint):
        done = run(tmp_path, endpoint, "import", "dinov2-small")
    assert done.returncode == 0, done.stderr
    name, _, version = done.stdout.strip().partition(":")
    stored = tmp_path / "bentoml" / "models" / name / version
    assert json.loads((stored / "config.json").read_text())["hidden_size"] == 12
    metadata = (stored / "model.yaml").read_text()
    assert f"revision: {COMMIT}" in metadata or f"revision: '{COMMIT}'" in metadata
    assert "source: facebook/dinov2-small" in metadata
    gets = [request for request in listening.requests if request.startswith("GET /facebook")]
    assert gets == [
        f"GET /facebook/dinov2-small/resolve/{commit}/{file}"
        for commit, file in zip(
            [part.split("/")[4] for part in gets], ["model.safetensors", "config.json"], strict=True
        )
    ]


def test_a_tokenizer_comes_along(tmp_path: Path) -> None:
    """A model that reads texts gets its vocabulary from its own repository, and works offline."""
    small_clip = small.config(Clip)
    file = tmp_path / "model.safetensors"
    position_ids = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    save_file(Clip.seeded_state_dict(small_clip) | position_ids, file)
    assert Clip.card.text is not None
    files = {
        "model.safetensors": file.read_bytes(),
        "config.json": json.dumps(small_clip).encode(),
        "tokenizer.json": text.dummy_tokenizer_json(Clip.card.text),
    }
    with hub(files) as (listening, endpoint):
        done = run(tmp_path, endpoint, "import", "clip_vit_l_14")
    assert done.returncode == 0, done.stderr
    fetched = {
        request.rpartition("/")[2] for request in listening.requests if request.startswith("GET")
    }
    assert fetched >= files.keys()
    code = (
        "from models.weights.store import get_model; "
        "print(get_model('clip_vit_l_14').model().prepare_text('ein Hafen').num_tokens)"
    )
    offline = {**os.environ, "BENTOML_HOME": str(tmp_path / "bentoml"), "HF_HUB_OFFLINE": "1"}
    used = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=offline,
        capture_output=True,
        text=True,
        check=True,
    )
    assert used.stdout.strip() == str(len("ein Hafen") + 2)


def test_errors_of_the_hub_are_explained(tmp_path: Path) -> None:
    """Missing files, gated repositories and no network end in a sentence."""
    with hub({}) as (_, endpoint):
        missing = run(tmp_path, endpoint, "import", "dino_v2_vits14")
    with hub({}, gated=True) as (_, endpoint):
        gated = run(tmp_path, endpoint, "import", "dino_v2_vits14")
    offline = run(tmp_path, "http://127.0.0.1:9", "import", "dino_v2_vits14")
    for done, message in (
        (missing, "does not give"),
        (gated, "gated"),
        (offline, "cannot be reach"),
    ):
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
