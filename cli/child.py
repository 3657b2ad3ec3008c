"""One supervised process: start it, stop it, pass on what it says.

Every child leads a process group of its own: Ctrl-C at a terminal reaches only
the supervisor, which decides the order, and what a child may have started goes
with it.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping

from cli.leash import leashed
from cli.topology import Endpoint

# Takes (process name, one line of its output).
LogSink = Callable[[str, str], None]
_KEPT_LINES = 20


class Child:
    """A process of Plait, running or not; one thread at a time may start and stop it."""

    def __init__(self, endpoint: Endpoint, environment: Mapping[str, str], log: LogSink) -> None:
        self.endpoint = endpoint
        self.last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._environment = dict(environment)
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Return the name of the process."""
        return self.endpoint.name

    @property
    def pid(self) -> int:
        """Return the process id, 0 before the first start."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the process; output goes to the log sink line by line."""
        command = [sys.executable, "-u", *self.endpoint.arguments]
        self._process = subprocess.Popen(
            leashed(command, self.endpoint.niceness),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
        self._reader = threading.Thread(
            target=self._read, args=(self._process,), name=f"log-{self.name}", daemon=True
        )
        self._reader.start()

    def exit_code(self) -> int | None:
        """Return the exit code (negative: the signal), None while it runs or before start."""
        return self._process.poll() if self._process else None

    def terminate(self) -> None:
        """Ask the process to drain and stop."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and whatever it started."""
        self._signal(signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Wait for the end; True if it ended within the time."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Leave nothing of an ended process: its group, its output, its thread."""
        if self._process is None:
            return
        self._signal_group()
        if self._reader is not None:
            self._reader.join(timeout=2.0)
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        if number == signal.SIGKILL:
            self._signal_group()
        else:
            self._process.send_signal(number)

    def _signal_group(self) -> None:
        """Kill the process group: the process, if it runs, and its descendants."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nobody is left in it

    def _read(self, process: "subprocess.Popen[str]") -> None:
        if process.stdout is None:
            return
        for line in process.stdout:
            text = line.rstrip("\n")
            self.last_lines.append(text)
            self._log(self.name, text)
        process.stdout.close()
