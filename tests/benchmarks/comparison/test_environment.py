"""The environments of the peers."""

from __future__ import annotations

from pathlib import Path

import pytest
from pip._vendor.packaging.requirements import Requirement

from benchmarks.comparison import environment

FILES = sorted(Path(environment.__file__).parent.glob("*.txt"))
PEERS = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def requirements(file: Path) -> list[Requirement]:
    lines = file.read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@PEERS
def test_requirements_are_exact_and_without_cuda(file: Path) -> None:
    """A run next year installs the same; torch comes apart, as a build for the CPU."""
    result = requirements(file)
    assert all(str(each.specifier).startswith("==") for each in result)
    names = {each.name.lower() for each in result}
    assert len(names) == len(result)
    assert not [name for name in names if name.startswith(("nvidia", "torch", "triton"))]


def test_infinity_has_what_its_extras_lack() -> None:
    """Without these every image is an error."""
    (file,) = (file for file in FILES if file.stem == "infinity")
    assert {"aiohttp", "pillow"} <= {each.name for each in requirements(file)}


def test_an_environment_that_is_finished_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is installed again until the requirements change."""
    monkeypatch.setattr(environment, "PEERS_DIR", tmp_path)
    made = tmp_path / f"litserve-{environment._digest(file_of('litserve'))}"
    made.mkdir()
    (made / "finished").touch()
    assert environment.ensure_interpreter("litserve") == made / "bin" / "python"
    assert environment._digest(file_of("litserve")) != environment._digest(file_of("infinity"))


def file_of(name: str) -> Path:
    return Path(environment.__file__).with_name(f"{name}.txt")
