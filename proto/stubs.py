"""Makes the Python stubs of the contracts beside this file; `--check` says whether they are there.

A stub imports another by its path on the wire (`anime.ranking.v1`). Here that becomes the package
which holds it, since a program that imports the client may have an `anime` of its own. The names
that protobuf registers stay, so that stubs which others make of the same contract fit beside.
"""

import filecmp
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent
ROOT = PROTO.parent
HOMES = {
    "anime/ranking/v1/ranking.proto": "anirank/contract",
    "pytorch_serve/inference.proto": "handlers/torchserve/inference",
    "open_inference/inference.proto": "handlers/facade/protocols/inference/contract",
}
# Whose names clients of other servers register as well: in a pool of their own, both fit beside.
APART = {"open_inference/inference.proto"}


def make(contract: str, home: str, to: Path) -> list[Path]:
    """Write the stubs of `contract`, which import each other as the package `home`, under `to`."""
    include = [f"--proto_path={PROTO}", f"--proto_path={files('grpc_tools') / '_proto'}"]
    out = [f"--{kind}_out={to}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", *include, *out, contract]):
        raise SystemExit(f"{contract}: protoc refused it")
    made = sorted((to / contract).parent.glob(f"{Path(contract).stem}_pb2*"))
    package, there = (str(Path(path)).replace("/", ".") for path in (Path(contract).parent, home))
    for stub in made:
        text = stub.read_text("utf-8")
        text = text.replace(f"from {package} import", f"from {there} import")
        if contract in APART:
            text = text.replace("_descriptor_pool.Default()", "_descriptor_pool.DescriptorPool()")
        stub.write_text(text.replace(f"'{package}.{stub.stem}'", f"'{there}.{stub.stem}'"), "utf-8")
    return made


def main() -> None:
    """Write every stub to its home, or compare."""
    stale = []
    with tempfile.TemporaryDirectory() as temporary:
        for contract, home in HOMES.items():
            for made in make(contract, home, Path(temporary)):
                stub = ROOT / home / made.name
                if sys.argv[1:] == ["--check"]:
                    if not stub.is_file() or not filecmp.cmp(made, stub, shallow=False):
                        stale.append(str(stub.relative_to(ROOT)))
                else:
                    stub.write_bytes(made.read_bytes())
    if stale:
        raise SystemExit(f"{', '.join(stale)}: not of the contract; run `make proto`")


if __name__ == "__main__":
    main()
