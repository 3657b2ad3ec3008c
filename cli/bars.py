"""How long work shows how far it is: bars on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.output import console
from models.progress import Progress as Report

Stages = Callable[[str], Report]
# Seconds between two lines about one stage where there is no terminal.
_EVERY = 30.0


@contextmanager
def bars(*, lines: bool = False) -> Iterator[Stages]:
    """Show a progress bar for each stage of the work, on standard error.

    With `lines`, a log gets a line when a stage begins and every half minute.
    """
    if lines and not sys.stderr.isatty():
        yield _lines
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True)) as shown:

        def stage(name: str) -> Any:
            task: TaskID = shown.add_task(name, total=None)

            def report(done: int, total: int, text: str) -> None:
                described = f"{name}: {text}" if text and text not in name else name
                shown.update(task, completed=done, total=total or None, description=described)

            return report

        yield stage


def _lines(name: str) -> Report:
    out = console(stderr=True)
    out.print(f"{name} ...", soft_wrap=True)
    last = time.monotonic()

    def report(done: int, total: int, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            share = f" {done / total:.0%}" if total else ""
            out.print(f"{name}{share} {text}", soft_wrap=True)

    return report
