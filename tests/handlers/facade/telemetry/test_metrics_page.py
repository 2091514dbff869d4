import http.client
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from prometheus_client.registry import Collector

from anirank.client.sync import Client
from anirank.errors import AddressRefused, AddressUnavailable
from handlers.facade.telemetry.metrics import Metrics
from handlers.facade.telemetry.metrics_server import MOST_READERS, MetricsServer
from tests.handlers.facade.telemetry.scraping import scrape, value


@pytest.fixture
def page():
    with MetricsServer("127.0.0.1:0", Metrics().registry) as server:
        yield server.port


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("GET", "/metrics?name[]=anirank_ready", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/../x", 404),
        ("HEAD", "/metrics", 501),
        ("POST", "/metrics", 501),
    ],
)
def test_the_page_is_all_there_is(page, method, path, status):
    connection = http.client.HTTPConnection("127.0.0.1", page, timeout=30)
    connection.request(method, path)
    assert connection.getresponse().status == status
    connection.close()


def test_a_reader_who_says_nothing_holds_up_neither_others_nor_the_end(page):
    with socket.create_connection(("127.0.0.1", page)):
        assert value(scrape(page), "anirank_requests_in_flight") == 0


def test_readers_who_say_nothing_are_let_go_for_others_and_take_no_more_threads(page):
    with ExitStack() as stack:
        silent = []
        for _ in range(3 * MOST_READERS):
            connection = socket.create_connection(("127.0.0.1", page), timeout=30)
            silent.append(stack.enter_context(connection))
        assert value(scrape(page), "anirank_requests_in_flight") == 0
        assert silent[0].recv(1) == b""
        serving = [each for each in threading.enumerate() if "process_request" in each.name]
        assert len(serving) <= MOST_READERS


def test_requests_are_answered_while_a_page_is_made(serve, metrics, observer, port):
    making, made = threading.Event(), threading.Event()

    class Slow(Collector):
        def collect(self):
            making.set()
            assert made.wait(60)
            return []

    with Client(serve(observer=observer)) as client, ThreadPoolExecutor(1) as thread:
        metrics.registry.register(Slow())
        page = thread.submit(scrape, port)
        assert making.wait(60)
        client.rank([3])
        made.set()
        assert page.result(60)


def test_the_process_is_on_the_page(page):
    assert value(scrape(page), "process_resident_memory_bytes") > 1e6


def test_what_is_read_after_the_end_is_nothing():
    with MetricsServer("127.0.0.1:0", Metrics().registry) as server:
        pass
    with pytest.raises(ConnectionRefusedError):
        scrape(server.port)


@pytest.mark.parametrize("address", ["127.0.0.1:1x", "127.0.0.1", "127.0.0.1:70000", "unix:a"])
def test_an_address_of_nothing_is_one_clear_error(address):
    with pytest.raises(AddressUnavailable, match=f"{address}: "):
        MetricsServer(address, Metrics().registry)


@pytest.mark.parametrize("address", ["0.0.0.0:0", ":0", "[::]:0"])
def test_other_machines_see_the_page_only_where_they_may(address):
    with pytest.raises(AddressRefused, match="open to other machines"):
        MetricsServer(address, Metrics().registry)
    if address == "0.0.0.0:0":
        with MetricsServer(address, Metrics().registry, insecure_public=True) as server:
            scrape(server.port)


def test_an_address_in_use_is_one_clear_error(page):
    with pytest.raises(AddressUnavailable, match=f"127.0.0.1:{page}: in use"):
        MetricsServer(f"127.0.0.1:{page}", Metrics().registry)
