"""The other systems' own Python environment, made when it is first needed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.systems.process import ROOT, NotAvailable

REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements.txt"
_MINUTES = 10


class PeersEnvironment:
    """A virtual environment of this Python release with benchmarks/peers/requirements.txt."""

    def __init__(self, home: Path = ROOT / ".cache" / "peers") -> None:
        self.home = home
        self._why_not = ""

    @property
    def python(self) -> str:
        """Return its interpreter, after installing what is missing; raises NotAvailable."""
        if self._why_not:
            raise NotAvailable(self._why_not)
        wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
        mark = self.home / ".ready"
        if not mark.is_file() or mark.read_text() != wanted:
            self._install()
            mark.write_text(wanted)
        return str(self.home / "bin" / "python")

    @property
    def packages(self) -> Path:
        """Return its site-packages."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.home / "lib" / version / "site-packages"

    def environ(self) -> dict[str, str]:
        """Return the variables under which the repository's code and its own commands are found."""
        return {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}",
            "PATH": f"{self.home / 'bin'}:{os.environ.get('PATH', '')}",
            "VIRTUAL_ENV": str(self.home),
        }

    def _install(self) -> None:
        print(
            f"installing the other systems into {self.home}, all of them, some 2 GB and minutes, "
            "as one of them is to be measured (--only plait,plain needs none)",
            file=sys.stderr,
        )
        self._run([sys.executable, "-m", "venv", "--clear", str(self.home)])
        pip = [str(self.home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        self._run([*pip, "--disable-pip-version-check", "-r", str(REQUIREMENTS)])

    def _run(self, command: list[str]) -> None:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60 * _MINUTES, check=False
            )
        except subprocess.TimeoutExpired:
            self._why_not = f"not installed within {_MINUTES} minutes"
            raise NotAvailable(self._why_not) from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            self._why_not = f"cannot be installed: {' '.join(last)[:200]}"
            raise NotAvailable(self._why_not)


def pinned() -> dict[str, str]:
    """Return the versions that the other systems run on."""
    lines = REQUIREMENTS.read_text().splitlines()
    parts = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {name: version for name, _, version in parts}
