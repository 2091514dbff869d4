from pathlib import Path

import pytest

from tests.handlers.security.protected import Files, options_of


@pytest.fixture
def written(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def address(serving, files, tmp_path_factory):
    """A façade with mutual TLS and tokens, whose files stay."""
    log = tmp_path_factory.mktemp("log") / "stderr"
    with serving(log, *options_of(files)) as facade:
        yield facade.address
