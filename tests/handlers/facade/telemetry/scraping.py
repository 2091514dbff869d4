"""The metrics of a façade, read from its page."""

import http.client
import threading

from prometheus_client.parser import text_string_to_metric_families


def scrape(port):
    """The page's samples: value by name and labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    reply = connection.getresponse()
    assert reply.status == 200
    assert reply.getheader("Content-Type", "").startswith("text/plain; version=0.0.4")
    text = reply.read().decode()
    connection.close()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples, sample, **labels):
    return samples.get((sample, *sorted(labels.items())))


def settled(port, sample, number, **labels):
    """The page, once a sample on it has this value."""
    for _ in range(300):
        samples = scrape(port)
        if value(samples, sample, **labels) == number:
            return samples
        threading.Event().wait(0.1)
    raise AssertionError(f"{sample} is {value(samples, sample, **labels)}, should be {number}")
