"""Where the checked-out files are, for the tests that read them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tool(name: str) -> str:
    """Return the path of a command of this environment, activated or not."""
    return str(Path(sys.executable).parent / name)


def run(*command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository and return what it said, whatever its exit code."""
    return subprocess.run(
        command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=timeout
    )


def tracked_files() -> list[Path]:
    """Return every file git knows and that is there, or all files where there is no git."""
    listing = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listing.returncode:
        return [p for p in ROOT.rglob("*") if p.is_file() and not set(p.parts) & {".venv", ".git"}]
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
