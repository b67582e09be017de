"""Fixtures for tests of inputs."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread

import pytest

from tests.pipeline.inputs.image_site import Answers, Site


@pytest.fixture
def site() -> Iterator[Site]:
    """A running site, and the requests that it saw."""

    class Quiet(Answers):
        over = Event()

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True  # hung up by the fetcher, as it should

    with Site(("127.0.0.1", 0), Quiet) as server:
        server.seen = []
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        Quiet.over.set()
        server.shutdown()
