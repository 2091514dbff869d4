import asyncio
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from anirank.errors import BundleError, CredentialsError, SignatureError, TorchServeError
from bundles import signature
from bundles.bundle import Bundle
from handlers.facade.settings import Settings
from handlers.facade.versions.loader import Loader
from handlers.local import LocalRanker
from handlers.torchserve.server import TorchServe


def write_keys(folder: Path, name: str, key: Any = None) -> tuple[Path, Path]:
    """A new private key and its public one, as PEM files."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.private.pem", folder / f"{name}.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


@pytest.fixture
def copy(toy_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_dir, tmp_path / "store" / "toy" / "1"))


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "theirs")


def test_a_signed_bundle_opens_for_who_trusts_the_key(copy, ours, theirs):
    assert signature.sign_bundle(copy, ours[0]) == copy / "manifest.json.sig"
    assert Bundle.open(copy, trust=[ours[1]]).manifest.name == "toy"
    trust = [theirs[1], ours[1]]
    assert Bundle.latest(copy.parents[1], "toy", trust=trust).manifest.version == "1"
    LocalRanker(copy, [ours[1]])
    Bundle.open(copy)  # and for who asks for no signature


def test_an_unsigned_bundle_is_refused_where_a_key_is_trusted(copy, ours):
    with pytest.raises(SignatureError, match=r"manifest\.json: is not signed"):
        Bundle.open(copy, trust=[ours[1]])


def test_a_bundle_signed_by_another_key_is_refused(copy, ours, theirs):
    signature.sign_bundle(copy, theirs[0])
    with pytest.raises(SignatureError, match=r"manifest\.json\.sig is not its signature by a key"):
        Bundle.open(copy, trust=[ours[1]])


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 71, b"x" * 10_000])
def test_a_damaged_signature_is_refused(copy, ours, damage):
    signature.sign_bundle(copy, ours[0])
    (copy / "manifest.json.sig").write_bytes(damage)
    with pytest.raises(SignatureError, match=r"manifest\.json\.sig is not its signature"):
        Bundle.open(copy, trust=[ours[1]])


def test_a_manifest_changed_after_it_was_signed_is_refused_before_it_is_read(copy, ours):
    signature.sign_bundle(copy, ours[0])
    (copy / "manifest.json").write_text("{ not even JSON")
    with pytest.raises(SignatureError):
        Bundle.open(copy, trust=[ours[1]])
    with pytest.raises(BundleError, match="not JSON"):
        Bundle.open(copy)


def test_the_signature_covers_every_file_through_the_manifest(copy, ours):
    signature.sign_bundle(copy, ours[0])
    manifest = json.loads((copy / "manifest.json").read_text())
    for name in manifest["files"]:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleError, match=f"{name}: SHA-256 is"):
            Bundle.open(copy, trust=[ours[1]])
        (copy / name).write_bytes(content)


def test_a_signed_version_is_not_served_under_the_name_of_another(copy, ours):
    signature.sign_bundle(copy, ours[0])
    shutil.copytree(copy, copy.parent / "2")
    with pytest.raises(SignatureError, match=r"2/manifest\.json: is signed as toy 1"):
        Bundle.latest(copy.parents[1], "toy", trust=[ours[1]])


def test_openssl_agrees_on_the_signature_both_ways(copy, ours):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine")
    file = signature.sign_bundle(copy, ours[0])
    manifest = copy / "manifest.json"
    verify = [openssl, "dgst", "-sha256", "-verify", ours[1], "-signature", file, manifest]
    assert subprocess.run(verify, capture_output=True).returncode == 0
    make = [openssl, "dgst", "-sha256", "-sign", ours[0], "-out", file, manifest]
    subprocess.run(make, check=True, capture_output=True)
    Bundle.open(copy, trust=[ours[1]])


def test_a_key_of_no_use_is_an_error_that_names_its_file(copy, ours, tmp_path):
    other = write_keys(tmp_path, "other", ed25519.Ed25519PrivateKey.generate())
    larger = write_keys(tmp_path, "larger", ec.generate_private_key(ec.SECP384R1()))
    signature.sign_bundle(copy, ours[0])
    junk = tmp_path / "junk.pem"
    junk.write_bytes(b"\xff junk")
    for path in (other[1], larger[1], junk, tmp_path / "absent.pem", ours[0]):
        with pytest.raises(CredentialsError, match=path.name):
            Bundle.open(copy, trust=[path])
    for path in (other[0], larger[0], junk, tmp_path / "absent.pem", ours[1]):
        with pytest.raises(CredentialsError, match=path.name):
            signature.sign_bundle(copy, path)


def test_a_new_version_that_is_not_signed_is_not_switched_to(copy, ours):
    signature.sign_bundle(copy, ours[0])
    settings = Settings(store=copy.parents[1], name="toy", trust=(ours[1],))
    loader = Loader(settings)

    async def load(version: str) -> None:
        await (await loader.load(version)).close()

    asyncio.run(load("1"))
    new = shutil.copytree(copy, copy.parent / "2")
    manifest = json.loads((new / "manifest.json").read_text()) | {"version": "2"}
    (new / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SignatureError, match=r"2/manifest\.json: manifest\.json\.sig is not its"):
        asyncio.run(load("2"))
    (new / "manifest.json.sig").unlink()
    with pytest.raises(SignatureError, match=r"2/manifest\.json: is not signed"):
        asyncio.run(load("2"))
    signature.sign_bundle(new, ours[0])
    asyncio.run(load("2"))


def test_a_mar_that_is_not_signed_is_not_started(tmp_path, ours):
    mar = tmp_path / "toy.mar"
    mar.write_bytes(b"whatever")
    with pytest.raises(SignatureError, match=r"toy\.mar: is not signed"):
        TorchServe(mar, trust=[ours[1]])
    signature.sign_bundle(mar, ours[0])
    mar.write_bytes(b"something else")
    with pytest.raises(SignatureError, match=r"toy\.mar\.sig is not its signature"):
        TorchServe(mar, trust=[ours[1]])
    mar.write_bytes(b"whatever")
    with pytest.raises(Exception, match="not a model archive"):
        TorchServe(mar, trust=[ours[1]])


def test_the_mar_that_is_started_is_a_copy_of_the_one_that_was_checked(tmp_path, ours):
    mar = tmp_path / "toy.mar"
    with zipfile.ZipFile(mar, "w") as archive:
        model = {"modelName": "toy", "modelVersion": "1"}
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
    signature.sign_bundle(mar, ours[0])
    python = tmp_path / "python"  # says what it is given, and ends
    python.write_text(
        '#!/bin/sh\nwhile [ "$1" != --model-store ]; do shift; done\nls -l $2\necho $2\n'
    )
    python.chmod(0o755)
    with pytest.raises(
        TorchServeError, match=r"ended at its start: /tmp/anirank-.*/store"
    ) as caught:
        TorchServe(mar, python=python, trust=[ours[1]])
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.slow
def test_the_command_line_signs_and_refuses(copy, ours, theirs):
    def anirank(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "anirank", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert anirank("sign", copy, "--key", ours[0]).stdout == f"{copy / 'manifest.json.sig'}\n"
    asked = ("rank", "--bundle", copy, "--user", 10)
    assert anirank(*asked, "--trust", theirs[1], "--trust", ours[1]).returncode == 0
    for refused in (
        (*asked, "--trust", theirs[1]),
        ("serve", "--store", copy.parents[1], "--name", "toy", "--trust", theirs[1]),
    ):
        done = anirank(*refused)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "manifest.json.sig is not its signature" in done.stderr
