"""The manifests are what Kubernetes takes, and agree with each other and with what they start."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from anirank.cli import options
from tests.deploy.manifests import (
    KUBERNETES,
    Manifest,
    container,
    containers,
    objects,
    pods,
    read,
)

RELEASES = ("1.33", "1.37")  # the oldest and the newest that the package has schemas of
# Of an operator's, for which there is no schema here; what they hold of a pod is checked as one.
OPERATORS = {"ServiceMonitor", "ServingRuntime", "InferenceService"}
LABEL = {"app.kubernetes.io/name": "anirank"}


@pytest.mark.parametrize("file", [f for f, o in objects().items() if o["kind"] not in OPERATORS])
def test_kubernetes_knows_every_field(file: str) -> None:
    for release in RELEASES:
        kubernetes_validate.validate(objects()[file], release, strict=True)


@pytest.mark.parametrize("where", pods())
def test_kubernetes_knows_every_field_of_a_pod(where: str) -> None:
    of_a_pod = ("initContainers", "containers", "volumes", "securityContext")
    spec = {key: value for key, value in pods()[where].items() if key in of_a_pod}
    spec["containers"] = spec["containers"] or [{"name": "facade"}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "anirank"}, "spec": spec}
    kubernetes_validate.validate(pod, RELEASES[0], strict=True)


def test_a_field_that_is_misspelt_is_seen() -> None:
    service = copy.deepcopy(objects()["base/service.yaml"])
    service["spec"]["clusterIp"] = "None"
    with pytest.raises(kubernetes_validate.ValidationError, match="clusterIp"):
        kubernetes_validate.validate(service, RELEASES[0], strict=True)


@pytest.mark.parametrize("name", [each.name for each in containers()])
def test_a_container_can_do_no_more_than_it_must(name: str) -> None:
    given = container(name).spec
    closed = given["securityContext"]
    assert closed["readOnlyRootFilesystem"] is True
    assert closed["allowPrivilegeEscalation"] is False
    assert closed["capabilities"] == {"drop": ["ALL"]}
    assert given["resources"]["limits"]["memory"]
    of_the_pod = pods()["base"]["securityContext"]  # which the sidecar's pod has too
    assert (closed if name.startswith("kserve") else of_the_pod)["runAsNonRoot"] is True


@pytest.mark.parametrize("name", [each.name for each in containers()])
def test_what_a_container_mounts_is_a_volume_of_its_pod(name: str) -> None:
    mounted = {each["name"] for each in container(name).spec["volumeMounts"]}
    assert mounted <= container(name).volumes


@pytest.mark.parametrize("name", [each.name for each in containers()])
def test_every_variable_is_a_setting(name: str) -> None:
    known = set(re.findall(r"ANIRANK_\w+", options.table()))
    # Of Python, TorchServe and Numba; the last is the handler's in TorchServe's Python.
    known |= {"TMPDIR", "TEMP", "NUMBA_CACHE_DIR", "ANIRANK_MODEL_METRICS"}
    assert set(container(name).environment) <= known


def test_every_file_of_a_secret_is_one_that_the_example_brings() -> None:
    example = read(KUBERNETES / "example/kustomization.yaml")
    made = [*example["secretGenerator"], *example["configMapGenerator"]]
    files = {each["name"]: set(each["files"]) for each in made}
    folders = {}
    for volume in pods()["base"]["volumes"]:
        kept = volume.get("secret", volume.get("configMap", {}))
        if named := kept.get("secretName", kept.get("name")):
            folders[f"/etc/anirank/{volume['name']}"] = named
    assert set(folders.values()) == set(files)
    read_there = set(re.findall(r"/etc/anirank/[\w./]+", json.dumps(pods())))
    for path in read_there - set(folders):
        folder, _, file = path.rpartition("/")
        assert file in files[folders[folder]], path


def test_all_select_the_pods_of_the_deployment() -> None:
    found = objects()
    assert found["base/deployment.yaml"]["spec"]["template"]["metadata"]["labels"] == LABEL
    assert found["base/service.yaml"]["metadata"]["labels"] == LABEL
    for file in ("deployment", "disruption", "monitor"):
        assert found[f"base/{file}.yaml"]["spec"]["selector"]["matchLabels"] == LABEL
    assert found["base/service.yaml"]["spec"]["selector"] == LABEL
    assert found["base/network.yaml"]["spec"]["podSelector"]["matchLabels"] == LABEL
    scaled = found["base/autoscaler.yaml"]["spec"]["scaleTargetRef"]
    deployment = found["base/deployment.yaml"]
    assert (scaled["kind"], scaled["name"]) == (deployment["kind"], deployment["metadata"]["name"])


def test_ports_are_the_same_wherever_they_stand() -> None:
    found = objects()
    service = {each["name"]: each["port"] for each in found["base/service.yaml"]["spec"]["ports"]}
    facade = container("base:facade")
    assert {each["name"]: each["containerPort"] for each in facade.spec["ports"]} == service
    opened = [each["ports"] for each in found["base/network.yaml"]["spec"]["ingress"]]
    assert [port["port"] for ports in opened for port in ports] == list(service.values())
    assert facade.environment["ANIRANK_ADDRESS"].endswith(f":{service['grpc']}")
    assert facade.environment["ANIRANK_METRICS_ADDRESS"].endswith(f":{service['metrics']}")
    [endpoint] = found["base/monitor.yaml"]["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")


def test_what_ends_has_the_time_for_it() -> None:
    facade = container("base:facade")
    pause_s = facade.spec["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace_s = float(facade.environment["ANIRANK_GRACE"])
    assert pods()["base"]["terminationGracePeriodSeconds"] >= pause_s + grace_s + 5


def test_kserve_runs_the_runtime_that_is_there() -> None:
    runtime = objects()["kserve/serving-runtime.yaml"]
    asked = objects()["kserve/inference-service.yaml"]["spec"]["predictor"]["model"]
    assert asked["runtime"] == runtime["metadata"]["name"]
    assert asked["protocolVersion"] in runtime["spec"]["protocolVersions"]
    [known] = runtime["spec"]["supportedModelFormats"]
    assert asked["modelFormat"] == {key: known[key] for key in ("name", "version")}


@pytest.fixture
def built(tmp_path: Path):
    """What kustomize makes of a folder in a copy of deploy/kubernetes, with secrets beside it."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl, which has kustomize in it")
    folder = shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    for name in ("tls.crt", "tls.key", "ca.crt", "tokens", "public.pem"):
        (folder / "example" / name).write_text("of a test")

    def build(name: str) -> list[Manifest]:
        command = [kubectl, "kustomize", str(folder / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return list(yaml.load_all(done.stdout, yaml.CSafeLoader))

    return build


@pytest.mark.parametrize("folder", ["base", "example", "torchserve", "kserve"])
def test_kustomize_makes_what_kubernetes_takes(built, folder: str) -> None:
    made = built(folder)
    assert made
    for each in made:
        if each["kind"] not in OPERATORS:
            kubernetes_validate.validate(each, RELEASES[0], strict=True)


def test_the_sidecar_stands_beside_the_facade_that_asks_it(built) -> None:
    [deployment] = [each for each in built("torchserve") if each["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    before = [each["name"] for each in pod["initContainers"]]
    assert set(before) == {"verify", "tokens", "verify-archive", "torchserve"}
    assert before.index("verify-archive") < before.index("torchserve")
    [facade] = pod["containers"]
    given = [each["name"] for each in facade["env"]]
    assert len(given) == len(set(given))
    assert {"ANIRANK_TLS_CERT", "ANIRANK_KEYS"} <= set(given)


def test_a_new_secret_starts_new_pods(built) -> None:
    made = {each["kind"]: each for each in built("example")}
    pod = made["Deployment"]["spec"]["template"]["spec"]
    named = [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each]
    assert all(re.fullmatch(r"anirank-(tls|tokens)-\w{10}", each) for each in named)
    assert {each["image"] for each in [*pod["initContainers"], *pod["containers"]]} == {
        "registry.example/anirank:0.1.0"
    }
