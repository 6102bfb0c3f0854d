"""Prometheus' Python client reads the metrics, in both of their formats."""

import urllib.request

import prometheus_client.openmetrics.parser as openmetrics
import prometheus_client.parser as text


def samples(parser, body):
    families = list(parser.text_string_to_metric_families(body))
    assert all(family.documentation and family.type != "unknown" for family in families)
    # What moves without a request is left out.
    return {
        (sample.name, tuple(sorted((name, float(value) if name == "le" else value) for name, value in sample.labels.items())))
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def read(address, accept):
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_both_formats_say_the_same(server):
    for address in (server.address, server.admin):
        kind, plain = read(address, "text/plain")
        assert kind == "text/plain; version=0.0.4; charset=utf-8"
        kind, modern = read(address, "application/openmetrics-text; version=1.0.0")
        assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert samples(text, plain) == samples(openmetrics, modern)
