"""Making the image."""

from __future__ import annotations

from deploy.image import back_end, command


def test_a_program_whose_server_is_down_is_passed_over() -> None:
    """Docker's client alone makes no image; the next program does."""
    assert back_end({"docker", "buildah"}.__contains__) == "docker"
    assert back_end({"buildah"}.__contains__) == "buildah"
    assert back_end(lambda program: False) is None


def test_the_build_of_torch_is_an_argument() -> None:
    """CUDA comes by argument, and reaches the build."""
    made = command("geobento:abc", "podman", "cu128")
    assert made[made.index("--backend") + 1] == "podman"
    assert made[made.index("--opt") + 1] == "build-arg=UV_TORCH_BACKEND=cu128"
