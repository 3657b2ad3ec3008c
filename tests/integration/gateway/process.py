"""The gateway in a process of its own, to be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class Gateway:
    """`python -m gateway` in a process of its own, without sources."""

    def __init__(self, directory: Path, **settings: str) -> None:
        """`settings` stand in the place of those of a gateway that is alone."""
        usual = {
            "PORT": "0", "METRICS_PORT": "0", "REPOSITORY": directory / "models",
            "STATE": directory / "state.sqlite", "SOURCES": "cf=127.0.0.1:9",
            "ITEM_ENCODERS": "", "EXPOSURE_LOG": "", "CONTACT_MS": "0",
        }  # fmt: skip
        values = {**usual, **settings}
        plain = {k: v for k, v in os.environ.items() if not k.startswith("PLAIT_")}
        log = directory / "gateway.log"
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                env={**plain, **{f"PLAIT_GATEWAY_{k}": str(v) for k, v in values.items()}},
                stderr=output,
            )
        while '"serving"' not in log.read_text():
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.02)
        line = next(line for line in log.read_text().splitlines() if '"serving"' in line)
        self.address = json.loads(line)["address"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
