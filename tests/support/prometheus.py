"""A real Prometheus server on loopback, for tests that ask what a dashboard would show."""

import json
import math
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

BINARY = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(
    BINARY is None, reason="no Prometheus to ask: install Debian's package prometheus"
)
# How long a test waits for what should take seconds; never asserted on.
PATIENCE = 30.0


class Prometheus:
    """A client of one running server."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """Return the `data` of an API answer; raises OSError where it is refused."""
        url = f"{self._base}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer).get("data")

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return (labels, value) of each series of an instant query."""
        data = self.get("/api/v1/query", query=expression)
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def finite(self, expression: str) -> dict[str, float]:
        """Return the finite values of a query, by their labels' values joined with spaces."""
        return {
            " ".join(labels.values()): value
            for labels, value in self.query(expression)
            if math.isfinite(value)
        }

    def wait_for(self, expression: str) -> dict[str, float]:
        """Return the finite values of a query once there are any; empty if there never are."""
        end = time.monotonic() + PATIENCE
        while not (found := self.finite(expression)) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    def ready(self) -> bool:
        """Does it answer yet?"""
        try:
            with urllib.request.urlopen(f"{self._base}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the answer
            return False
        except OSError:
            return False


@contextmanager
def prometheus(directory: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Run a server on a free port with a configuration; it is gone afterwards."""
    assert BINARY is not None
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(dict(config)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = directory / "prometheus.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [BINARY, f"--config.file={file}", f"--storage.tsdb.path={directory / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
            stdout=output, stderr=subprocess.STDOUT, cwd=directory,
        )  # fmt: skip
    try:
        server = Prometheus(port)
        end = time.monotonic() + PATIENCE
        while not server.ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait()


def scrape_config(root: Path, targets: Mapping[str, str], interval: str = "1s") -> dict[str, Any]:
    """Return prometheus/prometheus.yml with its processes at other addresses, scraped faster."""
    config: dict[str, Any] = yaml.safe_load((root / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": interval, "evaluation_interval": interval}
    config["rule_files"] = [str(root / "prometheus" / f) for f in config["rule_files"]]
    for static in config["scrape_configs"][0]["static_configs"]:
        static["targets"] = [targets[static["labels"]["process"]]]
    return config


def as_asked(expression: str, window: str) -> str:
    """Return a dashboard's query as Grafana sends it, with every source chosen."""
    return expression.replace("$__rate_interval", window).replace("$source", ".*")
