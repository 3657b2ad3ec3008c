"""A helper process: a proxy that takes orders, one word a line, on its standard input.

It says its port in one line and ends when its standard input does, so that none is
left behind, however the one who started it ends.
"""

import subprocess
import sys
from types import TracebackType


class Helper:
    """Runs `python -m benchmarks.chaos.MODULE TARGET`; use as a context manager."""

    def __init__(self, module: str, target: str) -> None:
        self._command = [sys.executable, "-m", f"benchmarks.chaos.{module}", target]
        self.address = ""

    def __enter__(self) -> "Helper":
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.address = f"127.0.0.1:{int(self._read())}"
        return self

    def order(self, words: str) -> None:
        """Give an order and wait until it is taken."""
        if self._process.stdin is None:
            raise RuntimeError("the helper takes no orders")
        self._process.stdin.write(f"{words}\n")
        self._process.stdin.flush()
        self._read()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process:
            self._process.kill()

    def _read(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the helper says nothing")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command)}: ended")
        return line
