"""How many requests a second the five processes answer on this machine, right now."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_CALLERS = 16


def measure(address: str, users: Sequence[str], seconds: float = 4.0) -> float:
    """Return requests per second of a closed loop that keeps the gateway busy."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(list(users), file)
        file.flush()
        command = [
            sys.executable, "-m", "benchmarks.callers", "--address", address,
            "--users", str(Path(file.name)), "--callers", str(_CALLERS),
            "--seconds", str(seconds), "--warm-up", "2",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout.splitlines()[-1])
    return len(seen["latencies"]) / float(seen["seconds"])
