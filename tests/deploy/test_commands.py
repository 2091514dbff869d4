"""Every command line of deploy/ is started as it stands, with its folders and ports elsewhere."""

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import anirank
from anirank.errors import Unauthenticated
from bundles.signature import sign_bundle
from handlers.security.access import Security
from tests.deploy.manifests import DEPLOY, KUBERNETES, Container, Image, container, read
from tests.docs.tracked import ROOT

pytestmark = pytest.mark.slow  # most of it starts servers

TOKEN = "a-token-of-these-tests-0123456789"
START_S = 120.0  # for what takes 5 s where nothing else runs
_FOLDER = re.compile(r"(?<![\w/.])/(?=(?:archive|etc|mnt|run|store|tmp)\b)")
_PORT = re.compile(r"(?<=:)(?:50051|7070|808[012]|9100)\b|(?<=', )8080\b")


class Elsewhere:
    """A container's folders and ports, in a folder of the test and at free ports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ports: dict[str, int] = {}
        for name in ("etc/anirank", "run/anirank", "store", "tmp"):
            (root / name).mkdir(parents=True)

    def port(self, given: str) -> int:
        """The port in place of one that a manifest names."""
        if given not in self._ports:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self._ports[given] = free.getsockname()[1]
        return self._ports[given]

    def text(self, given: str) -> str:
        """A text of a manifest with the paths and ports of here, open to this machine alone."""
        moved = _PORT.sub(lambda found: str(self.port(found[0])), given)
        return _FOLDER.sub(f"{self.root}/", moved).replace("0.0.0.0", "127.0.0.1")

    def path(self, given: str) -> Path:
        return Path(self.text(given))

    def start(
        self, command: Sequence[str], variables: Mapping[str, str], folder: str = "/tmp"
    ) -> "subprocess.Popen[str]":
        """Start a command line of deploy/ with its own variables, and none of ANIRANK's here."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ANIRANK")}
        kept["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), kept["PATH"]))
        # What other tests have compiled need not be compiled again.
        moved = {
            k: self.text(v) for k, v in variables.items() if k not in ("PATH", "NUMBA_CACHE_DIR")
        }
        return subprocess.Popen(
            [self.text(each) for each in command],
            cwd=self.path(folder),
            env=kept | moved,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def run(self, command: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str, str]:
        """Run one to its end: exit code, standard output and standard error."""
        with self.start(command, variables) as process:
            out, err = process.communicate(timeout=START_S)
        return process.returncode, out, err

    @contextlib.contextmanager
    def ready(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        probe: Sequence[str],
        folder: str = "/tmp",
        stop: signal.Signals = signal.SIGTERM,
    ) -> Iterator["subprocess.Popen[str]"]:
        """Entered once the probe's command ends with 0; ended by `stop`, as a cluster does.

        What a container's first process has started ends with it.
        """
        with self.start(command, variables, folder) as process:
            try:
                until = time.monotonic() + START_S
                while self.run(probe, {})[0] != 0:
                    assert process.poll() is None, process.communicate()
                    assert time.monotonic() < until, "not ready"
                yield process
                process.send_signal(stop)
                process.wait(30)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def here(toy_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """A signed bundle, keys, certificates and tokens, where the manifests have them."""
    found = Elsewhere(tmp_path_factory.mktemp("container"))
    etc = found.root / "etc/anirank"
    private = ec.generate_private_key(ec.SECP256R1())
    for name in ("trust", "tls", "tokens"):
        (etc / name).mkdir()
    (etc / "trust/public.pem").write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    key = found.root / "private.pem"
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    shutil.copytree(toy_dir, found.root / "store/toy/1")
    sign_bundle(found.root / "store/toy/1", key)
    authority = trustme.CA()
    issued = authority.issue_cert("anirank", "anirank.anime.svc", "127.0.0.1")
    authority.cert_pem.write_to_path(str(etc / "tls/ca.crt"))
    issued.private_key_pem.write_to_path(str(etc / "tls/tls.key"))
    issued.cert_chain_pems[0].write_to_path(str(etc / "tls/tls.crt"))
    tokens = etc / "tokens/tokens"
    tokens.write_text(f"{TOKEN}\n")
    tokens.chmod(0o440)  # as a volume of a secret has it
    return found


def variables_of(of: Container) -> dict[str, str]:
    """Of the toy, which stands for the model."""
    return of.environment | {"ANIRANK_NAME": "toy"}


def test_who_is_not_signed_does_not_get_past_the_first_step(here: Elsewhere) -> None:
    verify = container("base:verify")
    code, out, err = here.run(verify.command, variables_of(verify))
    assert (code, out, err) == (0, "toy 1: whole, and signed by a key that is trusted\n", "")
    signature = here.root / "store/toy/1/manifest.json.sig"
    kept = signature.read_bytes()
    try:
        signature.unlink()
        code, _, err = here.run(verify.command, variables_of(verify))
    finally:
        signature.write_bytes(kept)
    assert code != 0
    assert "manifest.json.sig" in err


@pytest.fixture(scope="module")
def facade(here: Elsewhere) -> Iterator[Container]:
    """The façade of the Deployment, once the step before it has run and its probe says so."""
    before, found = container("base:tokens"), container("base:facade")
    assert here.run(before.command, before.environment) == (0, "", "")
    assert stat.S_IMODE(here.path("/run/anirank/tokens").stat().st_mode) == 0o600
    probe = found.spec["readinessProbe"]["exec"]["command"]
    assert found.spec["startupProbe"]["exec"]["command"] == probe
    with here.ready(found.command, variables_of(found), probe) as process:
        yield found
    assert process.returncode == 0


def test_the_facade_answers_who_shows_a_token(here: Elsewhere, facade: Container) -> None:
    ca, address = here.path("/etc/anirank/tls/ca.crt"), here.text("127.0.0.1:50051")
    with anirank.Client(address, ca=ca, token=TOKEN) as client:
        assert client.recommend(top_k=3).model_version == "1"
    with anirank.Client(address, ca=ca) as client, pytest.raises(Unauthenticated):
        client.recommend()


def test_the_facade_takes_the_addresses_that_the_manifest_names(
    here: Elsewhere, facade: Container
) -> None:
    given = facade.environment
    security = Security.from_files(
        certificate=here.path(given["ANIRANK_TLS_CERT"]),
        key=here.path(given["ANIRANK_TLS_KEY"]),
        tokens=here.path(given["ANIRANK_TOKENS"]),
        insecure_public=given["ANIRANK_INSECURE_PUBLIC"] == "on",
    )
    assert given["ANIRANK_ADDRESS"].startswith("0.0.0.0:")
    assert given["ANIRANK_METRICS_ADDRESS"].startswith("0.0.0.0:")
    security.check(given["ANIRANK_ADDRESS"])
    assert security.tls is not None
    assert security.insecure_public


def test_what_the_autoscaler_goes_by_is_on_the_page_of_metrics(
    here: Elsewhere, facade: Container
) -> None:
    [endpoint] = read(KUBERNETES / "base/monitor.yaml")["spec"]["endpoints"]
    address = here.text(facade.environment["ANIRANK_METRICS_ADDRESS"])
    page = urllib.request.urlopen(f"http://{address}{endpoint['path']}", timeout=30).read().decode()
    [rule] = read(KUBERNETES / "prometheus-adapter.yaml")["rules"]["custom"]
    read_there = set(re.findall(r"anirank_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
    assert read_there == {"anirank_queue_seconds_sum", "anirank_queue_seconds_count"}
    for series in read_there:
        assert re.search(rf"^{series}{{", page, re.MULTILINE), page
    [scaled] = [
        each["pods"]["metric"]["name"]
        for each in read(KUBERNETES / "base/autoscaler.yaml")["spec"]["metrics"]
        if each["type"] == "Pods"
    ]
    assert scaled == rule["name"]["as"]


def test_a_probe_of_the_port_alone_is_answered(here: Elsewhere, facade: Container) -> None:
    ports = {each["name"]: each["containerPort"] for each in facade.spec["ports"]}
    alive = ports[facade.spec["livenessProbe"]["tcpSocket"]["port"]]
    socket.create_connection(("127.0.0.1", here.port(str(alive))), timeout=30).close()


def test_a_connection_is_let_go_so_that_callers_find_new_pods(facade: Container) -> None:
    assert int(facade.environment["ANIRANK_WORKERS"]) > 1  # of one worker none is


def test_kserve_s_runtime_serves_what_is_put_into_its_folder(
    here: Elsewhere, tmp_path: Path
) -> None:
    found, there = container("kserve:kserve-container"), Elsewhere(tmp_path)
    (tmp_path / "mnt").mkdir()
    (tmp_path / "mnt/models").symlink_to(here.root / "store")
    probe = found.spec["readinessProbe"]["exec"]["command"]
    [port] = found.spec["ports"]
    assert found.environment["ANIRANK_ADDRESS"] == f"0.0.0.0:{port['containerPort']}"
    Security(insecure_public=found.environment["ANIRANK_INSECURE_PUBLIC"] == "on").check(
        "0.0.0.0:1"
    )
    with (
        there.ready(found.command, variables_of(found), probe),
        anirank.Client(there.text("127.0.0.1:8080")) as client,
    ):
        assert client.model_info().name == "toy"


def test_the_image_of_the_facade_runs_and_is_healthy(here: Elsewhere) -> None:
    image = Image.read(DEPLOY / "Dockerfile")
    # As the first lines of the file run it; it listens to others.
    variables = image.environment | {"ANIRANK_NAME": "toy", "ANIRANK_INSECURE_PUBLIC": "on"}
    assert image.environment["ANIRANK_ADDRESS"] == "0.0.0.0:50051"
    apart = Elsewhere(here.root / "image")
    shutil.copytree(here.root / "store/toy", apart.root / "store/toy")
    with apart.ready(image.command, variables, image.check):
        pass


def write_closed_configuration(into: Path, there: Elsewhere) -> None:
    """What the container file copies there, at free ports."""
    into.mkdir(parents=True)
    source = ROOT / "handlers/torchserve"
    text = there.text((source / "config.properties").read_text("utf-8"))
    ports = ("grpc_inference_port", "7070"), ("grpc_management_port", "7071")
    text += "".join(f"{key}={there.port(given)}\n" for key, given in ports)
    (into / "config.properties").write_text(text)
    shutil.copy(source / "log4j2.xml", into)


def test_torchserve_has_the_ports_that_its_manifest_asks(mar_file: Path) -> None:
    # 7070 is what TorchServe takes where its configuration names no port of gRPC.
    config = (ROOT / "handlers/torchserve/config.properties").read_text("utf-8")
    given = container_of_the_sidecar()
    assert "grpc_inference_port" not in config
    assert given["ANIRANK_TORCHSERVE"] == "127.0.0.1:7070"
    assert f"management_address={given['ANIRANK_MANAGEMENT']}\n" in config


def container_of_the_sidecar() -> dict[str, str]:
    """What the sidecar's patch adds to the façade's variables."""
    pod = read(KUBERNETES / "torchserve/sidecar.yaml")["spec"]["template"]["spec"]
    return {each["name"]: each["value"] for each in pod["containers"][0]["env"]}


def test_a_facade_beside_a_torchserve_hands_it_its_batches(
    here: Elsewhere, mar_file: Path, tmp_path: Path
) -> None:
    there = Elsewhere(tmp_path / "pod")
    for name in ("trust", "tls", "tokens"):
        shutil.copytree(here.root / f"etc/anirank/{name}", there.root / f"etc/anirank/{name}")
    for name in ("archive", "run/torchserve"):
        (there.root / name).mkdir(parents=True)
    shutil.copytree(mar_file.parent / "anime", there.root / "store/anime")
    shutil.copy(mar_file, there.root / "store/anime.mar")
    for signed in ("store/anime/1", "store/anime.mar"):
        sign_bundle(there.root / signed, here.root / "private.pem")
    write_closed_configuration(there.root / "etc/torchserve", there)
    for step in (container("torchserve:verify-archive"), container("base:tokens")):
        code, _, err = there.run(step.command, step.environment)
        assert code == 0, err
    beside, facade = container("torchserve:torchserve"), container("base:facade")
    image = Image.read(DEPLOY / "torchserve.Dockerfile")
    ping = beside.spec["startupProbe"]["exec"]["command"]
    assert ping == image.check
    moved = [each.replace("/store", "/archive") for each in image.command]
    alive = beside.spec["livenessProbe"]["exec"]["command"]
    assert " ".join(beside.command).replace("=", " ") == " ".join(moved)
    assert beside.environment.items() <= image.environment.items()
    probe = facade.spec["readinessProbe"]["exec"]["command"]
    variables = facade.environment | container_of_the_sidecar()
    with (
        there.ready(
            beside.command, beside.environment, ping, beside.spec["workingDir"], image.stop
        ),
        there.ready(facade.command, variables, probe),
        anirank.Client(
            there.text("127.0.0.1:50051"),
            ca=there.path("/etc/anirank/tls/ca.crt"),
            token=TOKEN,
        ) as client,
    ):
        assert there.run(alive, {})[0] == 0
        assert client.model_info().backend == "torchserve"
        assert len(client.recommend(top_k=3).ranking) == 3
    tampered = there.root / "store/anime.mar"
    tampered.write_bytes(tampered.read_bytes() + b"\0")
    step = container("torchserve:verify-archive")
    assert there.run(step.command, step.environment)[0] != 0
