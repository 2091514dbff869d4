"""A façade that answers HTTP as well."""

from typing import Any, NamedTuple

import pytest


class Served(NamedTuple):
    """Where it answers: `address` over gRPC, `url` over HTTP."""

    address: str
    url: str


@pytest.fixture
def served(serve: Any) -> Served:
    urls: list[str] = []
    address = serve(http="127.0.0.1:0", http_started=urls.append)
    return Served(address, urls[0])
