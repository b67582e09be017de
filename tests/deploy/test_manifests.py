"""The Kubernetes manifests and the compose file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
BASE = sorted(file for file in (KUBERNETES / "base").glob("*.yaml") if "kustom" not in file.name)
OVERLAYS = ("base", "gpu", "queue")
VERSIONS = ("1.30", "1.37")
"""Oldest and newest Kubernetes that the manifests are for."""


def profile(name: str) -> dict[str, str | None]:
    """A profile's settings."""
    return dict(dotenv_values(DEPLOY / "profiles" / f"{name}.env"))


def read(file: Path) -> dict[str, Any]:
    """A manifest."""
    result: dict[str, Any] = yaml.safe_load(file.read_text())
    return result


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", BASE, ids=lambda file: file.stem)
def test_a_manifest_is_valid(file: Path, version: str) -> None:
    """By the schema of Kubernetes: no unknown field, none of another type."""
    kubernetes_validate.validate(read(file), version, strict=True)


def test_the_validation_can_fail() -> None:
    """A misspelt field is found."""
    manifest = read(KUBERNETES / "base" / "deployment.yaml")
    manifest["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def kustomized(overlay: str) -> dict[str, dict[str, Any]]:
    """What kustomize makes of an overlay, by kind."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    command = ["kubectl", "kustomize", str(KUBERNETES / overlay)]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(made)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid(overlay: str) -> None:
    """By the schema of Kubernetes, with its patches applied."""
    made = kustomized(overlay)
    assert len(made) == len(BASE)
    for manifest in made.values():
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def test_settings_are_those_of_a_profile() -> None:
    """The manifest repeats the numbers of a profile; both have to agree."""
    settings = read(KUBERNETES / "base" / "settings.yaml")["data"]
    assert settings == {**profile("cpu-node"), "GEOBENTO_STAC": "earth-search"}


def test_settings_of_a_gpu_are_those_of_a_profile() -> None:
    """The patch leaves nothing over from a CPU."""
    made = kustomized("gpu")
    assert made["ConfigMap"]["data"] == {**profile("gpu-node"), "GEOBENTO_STAC": "earth-search"}
    limits = made["Deployment"]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"


def test_pods_have_few_privileges() -> None:
    """Not root, nothing to write but volumes, no token, no links that look like settings."""
    pod = read(KUBERNETES / "base" / "deployment.yaml")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
        image_variable("GEOBENTO_DATA_DIR"),
        "/tmp",
    }


def test_a_pod_has_the_time_to_drain() -> None:
    """The pause, the longest request and what the service adds to it fit into the period."""
    from geobento.config.settings import Settings

    spec = read(KUBERNETES / "base" / "deployment.yaml")["spec"]["template"]["spec"]
    pause = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = Settings.model_fields["request_timeout_s"].default + 30
    assert spec["terminationGracePeriodSeconds"] >= pause + needed
    assert int(read(DEPLOY / "compose.yaml")["services"]["geobento"]["stop_grace_period"][:-1]) >= (
        needed
    )


def image_variable(name: str) -> str:
    """A variable of the image."""
    variables = read(ROOT / "bentofile.yaml")["envs"]
    return next(str(entry["value"]) for entry in variables if entry["name"] == name)


class Healthcheck(BaseModel):
    """How compose checks the health of a container."""

    model_config = ConfigDict(extra="forbid", strict=True)

    test: list[str]
    interval: str
    timeout: str
    start_period: str


class Container(BaseModel):
    """Those fields of a compose service that are used here, by the Compose Specification."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image: str
    env_file: str | None = None
    environment: dict[str, str] = {}
    ports: list[str] = []
    volumes: list[str] = []
    read_only: bool = False
    tmpfs: list[str] = []
    init: bool = False
    cap_drop: list[str] = []
    security_opt: list[str] = []
    stop_grace_period: str = "10s"
    restart: str = "no"
    healthcheck: Healthcheck | None = None
    depends_on: list[str] = []


class Compose(BaseModel):
    """A compose file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    services: dict[str, Container]
    volumes: dict[str, None]


def test_compose_holds_together() -> None:
    """Its fields are known; files and volumes that it mounts are there; nothing faces outwards."""
    compose = Compose.model_validate(read(DEPLOY / "compose.yaml"))
    for container in compose.services.values():
        for volume in container.volumes:
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if "/" in source else source in compose.volumes
        assert set(container.depends_on) <= compose.services.keys()
        assert all(port.startswith("127.0.0.1:") for port in container.ports)
    ours = compose.services["geobento"]
    assert ours.read_only
    assert f"home:{image_variable('GEOBENTO_DATA_DIR')}" in ours.volumes
    assert compose.services["prometheus"].volumes[0].partition(":")[0] == (
        "./prometheus/prometheus.yml"
    )


def test_prometheus_asks_the_service_of_compose() -> None:
    """Host and port are those in the compose file."""
    config = read(DEPLOY / "prometheus" / "prometheus.yml")
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["geobento:3000"]}]
    for file in config["rule_files"]:
        assert (DEPLOY / "prometheus" / file).exists()
