"""The examples of docs/python.md run."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.servers import Keyed

TEXT = (ROOT / "docs" / "python.md").read_text()
PRINTED = [
    ["(1024,) float32", "(1024,)", "has no usable pixel"],
    ["Embedding(data=array", "Embedding(data=array"],
]
EXAMPLES = re.findall(r"<!-- runs -->\n```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "printed"), zip(EXAMPLES, PRINTED, strict=True))
def test_an_example_prints_what_it_should(
    keyed_service: Keyed, code: str, printed: list[str]
) -> None:
    """As it stands, but for the address and the key."""
    code = code.replace("http://localhost:3000", keyed_service.url).replace('"KEY"', '"%s"')
    done = subprocess.run(
        [sys.executable, "-c", code % keyed_service.key],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in printed:
        assert line in done.stdout
