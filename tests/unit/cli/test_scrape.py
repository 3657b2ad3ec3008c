"""Quantiles out of histograms, and endpoints that are none."""

import math
import socket
import threading

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    start_http_server,
)

from cli.scrape import Buckets, parse, scrape


def metrics_text() -> str:
    registry = CollectorRegistry()
    seconds = Histogram(
        "work_seconds", "Work.", ["stage", "outcome"], buckets=(0.001, 0.01, 0.1), registry=registry
    )
    Counter("jobs", "Jobs.", ["stage"], registry=registry).labels("a").inc(3)
    for value in (0.0005, 0.0005, 0.005, 0.05):
        seconds.labels("a", "ok").observe(value)
    seconds.labels("a", "late").observe(5.0)
    seconds.labels("b", "ok").observe(0.02)
    return generate_latest(registry).decode()


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    buckets = Buckets({1.0: 10.0, 2.0: 20.0, math.inf: 20.0}, 25.0, 20.0)
    assert buckets.quantile(0.5) == pytest.approx(1.0)
    assert buckets.quantile(0.75) == pytest.approx(1.5)
    assert buckets.quantile(1.0) == pytest.approx(2.0)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert Buckets({1.0: 0.0, math.inf: 4.0}, 40.0, 4.0).quantile(0.99) == 1.0


def test_no_observation_has_no_quantile() -> None:
    assert Buckets().quantile(0.5) is None


def test_histograms_add_up_over_the_labels_not_named() -> None:
    seen = parse(metrics_text())
    assert seen.histogram("work_seconds", stage="a").count == 5
    assert seen.histogram("work_seconds", stage="a", outcome="ok").count == 4
    assert seen.histogram("work_seconds").count == 6
    assert seen.values("work_seconds_count", "stage") == ("a", "b")
    assert seen.sum("jobs_total", stage="a") == 3


def test_the_difference_of_two_readings_is_what_happened_between() -> None:
    earlier = Buckets({1.0: 2.0, math.inf: 2.0}, 1.0, 2.0)
    later = Buckets({1.0: 2.0, math.inf: 5.0}, 31.0, 5.0)
    assert later.minus(earlier) == Buckets({1.0: 0.0, math.inf: 3.0}, 30.0, 3.0)
    assert earlier.plus(Buckets()) == earlier.minus(Buckets()) == Buckets().plus(earlier)


def test_an_endpoint_is_read_over_http() -> None:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", registry=registry).inc(7)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        assert scrape("127.0.0.1", server.server_port).sum("jobs_total") == 7
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_is_no_endpoint_is_an_os_error() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused"):
            scrape("127.0.0.1", nobody.getsockname()[1])
    with pytest.raises(OSError, match="not Prometheus"):
        parse("<html>\n")


def test_a_server_that_answers_in_another_tongue_is_no_endpoint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            caller, _ = server.accept()
            with caller:
                caller.recv(1000)
                caller.sendall(b"HTTP/1.0 200 OK\r\n\r\nGr\xfc\xdfe {\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OSError, match="not Prometheus"):
            scrape("127.0.0.1", server.getsockname()[1])
        thread.join()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6 here")
def test_an_ipv6_host_is_read_however_it_is_written() -> None:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", registry=registry).inc(2)
    server, thread = start_http_server(0, "::1", registry)
    try:
        seen = [scrape(host, server.server_port).sum("jobs_total") for host in ("::1", "[::1]")]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert seen == [2, 2]
