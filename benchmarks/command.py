"""A benchmark as a command: what it is told is checked before the work, and nothing outlives it."""

import argparse
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artifacts.errors import ArtifactError
from cli.failures import UserError, of_the_machine
from cli.writable import check_directory, check_file, write_text
from models.data.errors import DataError

# As a shell reports a process that the signal ended.
_INTERRUPTED, _TERMINATED = 130, 143


def ended(work: Callable[[], int | None], hint: str = "") -> int:
    """Do the work and return the exit code: 1 with one line where a person can help.

    `hint`: said too where data or models are wrong. Ctrl-C and an ordinary kill unwind the
    work, so that what it has started ends and its folders are removed. What is started
    has none of the caller's settings.
    """
    before, settings = signal.signal(signal.SIGTERM, _unwind), _put_aside()
    try:
        return work() or 0
    except UserError as error:
        said = error.message
    except (ArtifactError, DataError) as error:
        said = f"{error}\n{hint}".rstrip()
    except OSError as error:
        if (failure := of_the_machine(error)) is None:
            raise
        said = failure.message
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
        os.environ.update(settings)
    print(said, file=sys.stderr)
    return 1


def plait(commands: Sequence[Sequence[str]]) -> int:
    """Run `plait` with each of the arguments, told as they are; return the first code not 0."""
    for command in commands:
        print("$", shlex.join(["plait", *command]), flush=True)
        done = subprocess.run([sys.executable, "-m", "cli.main", *command], check=False)
        if done.returncode:
            return done.returncode
    return 0


def _put_aside() -> dict[str, str]:
    """Take Plait's settings out of the environment and return them: another shop's, mostly."""
    found = {n: os.environ.pop(n) for n in [*os.environ] if n.startswith("PLAIT_")}
    if found:
        print(f"not heeded here: {', '.join(sorted(found))}", file=sys.stderr)
    return found


def _unwind(*_: object) -> None:
    # Once: a second one must not cut the clearing up short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(_TERMINATED)


@contextmanager
def child(command: Sequence[str], stderr: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run a command beside the block, its output in a pipe, and wait for its end.

    Where the block is left by an error or a signal, the command is killed: it may have an
    hour to go.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def output(text: str) -> Path:
    """Read the name of a file to write, for argparse: refused where it cannot be written."""
    return _tried(Path(text), check_file)


def folder(text: str) -> Path:
    """Read the name of a folder to write into, for argparse: refused where that cannot be done."""
    return _tried(Path(text), check_directory)


def _tried(path: Path, check: Callable[[Path], None]) -> Path:
    try:
        check(path)
    except UserError as error:
        raise argparse.ArgumentTypeError(error.message) from None
    return path


def write(path: Path | None, result: Mapping[str, Any]) -> None:
    """Write a result as JSON, where a file was named."""
    if path is not None:
        write_text(path, json.dumps(result, indent=2) + "\n")


def counts(text: str) -> list[int]:
    """Read whole numbers above 0, separated by commas, for argparse."""
    return [count(part) for part in text.split(",")]


def count(text: str) -> int:
    """Read a whole number above 0, for argparse."""
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return int(text)


def count_or_0(text: str) -> int:
    """Read a whole number, 0 included, for argparse."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0 on")
    return int(text)


def from_0(text: str) -> float:
    """Read a number, 0 included, for argparse."""
    return _number(text, lambda found: found >= 0, "from 0 on")


def from_1(text: str) -> float:
    """Read a number, 1 included, such as a factor, for argparse."""
    return _number(text, lambda found: found >= 1, "from 1 on")


def above_0(text: str) -> float:
    """Read a number above 0, such as seconds, for argparse."""
    return _number(text, lambda found: found > 0, "above 0")


def _number(text: str, fits: Callable[[float], bool], what: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and fits(found)):
        raise argparse.ArgumentTypeError(f"'{text}' is no number {what}")
    return found
