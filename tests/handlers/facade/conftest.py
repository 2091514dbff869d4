import grpc
import pytest

from anirank.client.sync import Client
from tests.running.paced import running


@pytest.fixture(scope="module")
def address(toy_dir):
    with running(toy_dir) as (_, address):
        yield address


@pytest.fixture
def client(address):
    with Client(address) as client:
        yield client


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel
