"""Signatures: who made a bundle, by a key that whoever serves it trusts.

A signature stands beside the file it is of, under its name and ``.sig``: ECDSA over P-256 and
SHA-256 in DER (FIPS 186-5), which other tools read as well::

    openssl ecparam -name prime256v1 -genkey -noout -out private.pem
    openssl ec -in private.pem -pubout -out public.pem
    openssl dgst -sha256 -verify public.pem -signature manifest.json.sig manifest.json

A bundle's manifest lists the SHA-256 of all its other files, so that its signature covers them too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anirank.errors import CredentialsError, SignatureError
from bundles import files

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_LONGEST = 72  # bytes of a signature: two integers of at most 33, and what frames them


def sign_bundle(given: Path, key: Path) -> Path:
    """Sign a bundle, by its folder, or a .mar; otherwise as `sign`."""
    return sign(given / "manifest.json" if given.is_dir() else given, key)


def signature_file(signed: Path) -> Path:
    """Where the signature of a file stands."""
    return signed.with_name(f"{signed.name}.sig")


def sign(signed: Path, key: Path) -> Path:
    """Sign a file with the private key in a PEM file; returns the signature's file.

    Raises SignatureError where the file cannot be read, CredentialsError where the key is of no
    use.
    """
    # Imported at need only: what serves unsigned bundles, TorchServe's Python too, has it not.
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = _p256(key, lambda content: load_pem_private_key(content, None), "private")
    made: bytes = private.sign(_digest(signed), _algorithm())
    file = signature_file(signed)
    try:
        files.write_bytes(file, made)
    except OSError as error:
        raise SignatureError(f"{file}: cannot be written ({error.strerror})") from error
    return file


def check(signed: Path, digest: bytes, trust: Sequence[Path]) -> None:
    """Raise SignatureError unless a key in one of the PEM files `trust` has signed `signed`.

    digest: the SHA-256 of what was read of the file, which may be another by now. Raises
    CredentialsError where a PEM file is of no use.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys = [_p256(path, load_pem_public_key, "public") for path in trust]
    file = signature_file(signed)
    try:
        with files.open_regular(file) as opened:
            signature = opened.read(_LONGEST + 1)
    except OSError as error:
        raise SignatureError(
            f"{signed}: is not signed, and only what is signed is trusted here; "
            f"{file} cannot be read ({error.strerror})"
        ) from error
    for key in keys:
        try:
            key.verify(signature, digest, _algorithm())
            return
        except InvalidSignature:
            continue
    raise SignatureError(
        f"{signed}: {file.name} is not its signature by a key in {', '.join(map(str, trust))}"
    )


def _digest(signed: Path) -> bytes:
    try:
        return files.digest(signed)
    except OSError as error:
        raise SignatureError(f"{signed}: cannot be read ({error.strerror})") from error


def _algorithm() -> "ec.ECDSA":
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    return ec.ECDSA(utils.Prehashed(hashes.SHA256()))


def _p256(path: Path, load: Any, kind: str) -> Any:
    """The key in a PEM file; `load` reads it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = load(path.read_bytes())
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CredentialsError(
            f"{path}: should be PEM of a {kind} key, without a passphrase"
        ) from error
    if not isinstance(getattr(key, "curve", None), ec.SECP256R1):
        raise CredentialsError(f"{path}: should be a {kind} key of the curve P-256 (prime256v1)")
    return key
