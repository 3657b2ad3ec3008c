"""A process that behaves like one of Plait's, for tests of the supervisor.

Environment: FAKE_REFUSES=name ends at once; FAKE_DEAF=name ignores SIGTERM;
FAKE_BROOD=name starts a process of its own; FAKE_TALKS=name writes line after line;
FAKE_NOTES=FILE gets a line when the process stops in good order.
"""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main() -> int:
    name = sys.argv[1]
    if os.environ.get("FAKE_REFUSES") == name:
        print('{"level": "critical", "message": "cannot start: no model here"}', flush=True)  # noqa: T201
        return 1
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if os.environ.get("FAKE_BROOD") == name:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(f"brood={child.pid}", flush=True)  # noqa: T201
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{os.environ[f'PLAIT_{name.upper()}_PORT']}")
    server.start()
    print("serving", flush=True)  # noqa: T201
    while os.environ.get("FAKE_TALKS") == name and not stop.wait(0.01):
        print("a long line", flush=True)  # noqa: T201
    stop.wait()
    if os.environ.get("FAKE_DEAF") == name:
        threading.Event().wait()
    server.stop(None).wait()
    with Path(os.environ["FAKE_NOTES"]).open("a") as notes:
        notes.write(f"{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
