"""One process of a system: started in a group of its own, never left behind."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from cli.leash import leashed

ROOT = Path(__file__).parents[2]
# Has the kernel end the process if this one dies, however it dies.


class NotAvailable(Exception):
    """A system cannot be installed or started here; the message says why."""


class Process:
    """A command and all it starts."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Start the command in the repository's root; what it says goes to `log`."""
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                leashed(command),
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """Return the process id, which is its group's too."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()`; raises NotAvailable with its last words if it is not in time."""
        until = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise NotAvailable(f"ended with {self._process.returncode}: {self._last_words()}")
            if time.monotonic() > until:
                raise NotAvailable(f"not ready after {seconds:.0f} s: {self._last_words()}")
            time.sleep(0.1)

    def stop(self, seconds: float = 10.0) -> None:
        """End it and all it has started: first kindly."""
        started = self._descendants()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        # Where nobody is left in the group there is nothing to end.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        # Some start processes in groups of their own.
        for process in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(started, 5.0)
        self._process.wait()

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(line.strip() for line in lines[-4:])[-400:]
