import http.client
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handlers.errors import AddressRefused, AddressUnavailable
from handlers.metrics import Metrics
from handlers.metrics_server import MetricsServer


def scrape(port):
    """The page's samples: value by name and labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    reply = connection.getresponse()
    assert reply.status == 200
    assert reply.getheader("Content-Type").startswith("text/plain; version=0.0.4")
    text = reply.read().decode()
    connection.close()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples, sample, **labels):
    return samples.get((sample, *sorted(labels.items())))


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


def test_a_version_that_is_let_go_weighs_nothing():
    metrics = Metrics()
    with MetricsServer("127.0.0.1:0", metrics.registry) as server:
        metrics.serving([("anime", "1", 1.0)])
        metrics.serving([("anime", "1", 0.9), ("anime", "2", 0.1)])
        metrics.serving([("anime", "2", 1.0)])
        samples = scrape(server.port)
    assert value(samples, "anirank_model_weight", name="anime", version="1") == 0
    assert value(samples, "anirank_model_weight", name="anime", version="2") == 1
