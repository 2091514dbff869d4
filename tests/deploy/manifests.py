"""What deploy/ holds, as Python values: manifests, their containers, and container files."""

import json
import re
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.docs.tracked import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
# Values of a chart and a part of a Deployment are no objects of their own.
NO_OBJECTS = {"kustomization.yaml", "prometheus-adapter.yaml", "sidecar.yaml"}

Manifest = dict[str, Any]


class Container(NamedTuple):
    """A container of a pod, and the volumes that the pod has."""

    where: str
    spec: Manifest
    volumes: set[str]

    @property
    def name(self) -> str:
        return f"{self.where}:{self.spec['name']}"

    @property
    def command(self) -> list[str]:
        return [*self.spec["command"], *self.spec.get("args", ())]

    @property
    def environment(self) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self.spec.get("env", ())}


@cache
def read(path: Path) -> Any:
    """The one document of a file of YAML, which nobody may change."""
    return yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)


def objects() -> dict[str, Manifest]:
    """The objects for a cluster, by the file each stands in."""
    files = (path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name not in NO_OBJECTS)
    return {str(path.relative_to(KUBERNETES)): read(path) for path in files}


def pods() -> dict[str, Manifest]:
    """What stands where a pod's specification does, by file."""
    beside = read(KUBERNETES / "torchserve/sidecar.yaml")["spec"]["template"]["spec"]
    base = objects()["base/deployment.yaml"]["spec"]["template"]["spec"]
    both = [*base["volumes"], *beside["volumes"]]
    return {
        "base": base,
        "kserve": objects()["kserve/serving-runtime.yaml"]["spec"],
        "torchserve": {**beside, "containers": [], "volumes": both},
    }


def containers() -> Iterator[Container]:
    """Every container there is, those that run first too."""
    for where, pod in pods().items():
        volumes = {each["name"] for each in pod["volumes"]}
        for spec in [*pod.get("initContainers", ()), *pod["containers"]]:
            yield Container(where, spec, volumes)


def container(name: str) -> Container:
    """The one of `where:name`."""
    [found] = [each for each in containers() if each.name == name]
    return found


class Image(NamedTuple):
    """What a container file ends with: variables, how it is asked, what it runs, what ends it."""

    environment: dict[str, str]
    check: list[str]
    command: list[str]
    stop: signal.Signals
    steps: list[str]

    @classmethod
    def read(cls, path: Path) -> "Image":
        text = re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE)
        steps = re.sub(r"\\\n\s*", "", text).splitlines()
        [variables] = [each for each in steps if each.startswith("ENV ")]
        [check] = [each for each in steps if each.startswith("HEALTHCHECK ")]
        [command] = [each for each in steps if each.startswith("CMD ")]
        stop = [each for each in steps if each.startswith("STOPSIGNAL ")]
        return cls(
            dict(each.split("=", 1) for each in variables.removeprefix("ENV ").split()),
            json.loads(check.partition("CMD ")[2]),
            json.loads(command.removeprefix("CMD ")),
            signal.Signals[stop[0].split()[1]] if stop else signal.SIGTERM,
            steps,
        )
