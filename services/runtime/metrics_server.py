"""The HTTP endpoint Prometheus scrapes: GET /metrics, on a thread of its own.

prometheus_client brings a server too, but one that takes half a second to stop
and asks DNS for its own name at start.
"""

import logging
import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
# A scraper speaks at once; whoever stays silent holds a thread.
PATIENCE_SECONDS = 10.0


class MetricsServer:
    """Serves metrics, by default those of this process, between `start` and `stop`."""

    def __init__(
        self,
        host: str,
        port: int,
        patience: float = PATIENCE_SECONDS,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """`patience`: seconds after which a caller that says nothing is hung up on."""
        self._host = host
        self._registry = registry
        self._patience = patience
        # The port really bound, once started.
        self.port = port

    def start(self) -> None:
        """Bind and serve; raises OSError."""
        server = _HttpV6 if ":" in self._host else _Http
        self._httpd = server((self._host, self.port), _Silent)
        self._httpd.patience = self._patience
        self.port = self._httpd.server_port
        self._httpd.set_app(make_wsgi_app(self._registry))
        self._thread = threading.Thread(
            target=self._httpd.serve_forever, args=(_POLL_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop and free the port; blocks for a tenth of a second at most."""
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()


class _Http(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Connections the kernel holds until their turn; beyond it a scrape waits a second or more.
    request_queue_size = 128
    patience = PATIENCE_SECONDS

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that went away or never spoke; anything else is a bug."""
        del request, client_address
        if not isinstance(sys.exception(), OSError):
            _log.exception("unexpected error")


class _HttpV6(_Http):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    """Scrapes are not worth a log line."""

    server: _Http

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.patience)

    def parse_request(self) -> bool:
        """Read the request's head; one of HTTP/0.9 is refused.

        It has no headers, and wsgiref fails looking for them (Python 3.14).
        """
        if not super().parse_request():
            return False
        if self.request_version == "HTTP/0.9":
            self.send_error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            return False
        return True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        del format, args
