"""The metrics endpoint in front of callers that are no Prometheus."""

import contextlib
import http.client
import logging
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from services.runtime.metrics_server import MetricsServer


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    started = MetricsServer("127.0.0.1", 0)
    started.start()
    yield started
    started.stop()


def handlers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if "process_request_thread" in t.name]


def wait_for_handlers() -> None:
    for thread in handlers():
        thread.join(30.0)
    assert not handlers()


def status(server: MetricsServer) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30.0)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_caller_that_resets_its_connection_is_not_worth_a_word(
    server: MetricsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    for data in (b"", b"GET /metrics", b"GET /" + b"x" * 70_000):
        with socket.create_connection(("127.0.0.1", server.port)) as caller:
            linger = struct.pack("ii", 1, 0)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            caller.sendall(data)
    assert status(server) == 200
    wait_for_handlers()
    assert capfd.readouterr().err == ""


def test_a_request_of_http_0_9_which_has_no_headers_is_refused(
    server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.settimeout(30.0)
        caller.sendall(b"GET /metrics\r\n\r\n")
        assert b"HTTP Version Not Supported" in caller.makefile("rb").read()
    assert status(server) == 200
    wait_for_handlers()
    assert not caplog.records


def test_a_caller_that_never_speaks_does_not_hold_its_thread() -> None:
    hasty = MetricsServer("127.0.0.1", 0, patience=0.05)
    hasty.start()
    try:
        with socket.create_connection(("127.0.0.1", hasty.port)) as silent:
            silent.settimeout(30.0)
            assert silent.recv(1) == b""
        wait_for_handlers()
    finally:
        hasty.stop()


def test_a_bug_behind_the_endpoint_is_logged_in_the_usual_form(
    server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.suppress(KeyError):
        try:
            raise KeyError
        finally:
            server._httpd.handle_error(None, None)
    assert [(r.levelno, r.message) for r in caplog.records] == [(logging.ERROR, "unexpected error")]
