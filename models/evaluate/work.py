"""Finished parts of long work, kept on disk and found again.

The one idea: a part's place is a hash of everything it depends on: the data, the
settings, the parts it was made from, and the source code that makes it. So work
that was interrupted goes on where it stopped, a change redoes exactly what it
concerns, and nothing stale is ever found.
"""

import ast
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from artifacts.disk import naming, whole

Arrays = dict[str, npt.NDArray[Any]]

KEY = "key.json"
# Packages whose code decides what a part holds.
_OURS = {"artifacts", "models", "gateway", "cli"}


class Work:
    """A directory of parts: DIR/<what>-<hash>/, each with a key.json that says what it is."""

    def __init__(
        self, root: Path, *, fresh: bool = False, waits: Callable[[str], object] = lambda _: None
    ) -> None:
        """`fresh` makes every part anew once, whatever is there.

        `waits` is told why, where another process is at a part that is needed.
        """
        self._root = root
        self._fresh = fresh
        self._waits = waits
        self._used: set[Path] = set()

    def part(self, what: str, key: Mapping[str, Any]) -> Path:
        """Return the directory of a part, made if need be; what is in it decides if it is done."""
        with self.held(what, key) as path:
            return path

    @contextmanager
    def held(self, what: str, key: Mapping[str, Any]) -> Iterator[Path]:
        """Yield the directory of a part, as `part`, for this process alone until the end.

        Who needs it meanwhile waits, and finds it done.
        """
        path = self._root / f"{what}-{digest(key)}"
        path.mkdir(parents=True, exist_ok=True)
        with _lock(path, lambda: self._waits(f"wait for another process that makes {path.name}")):
            if self._fresh and path not in self._used:
                _empty(path)
            self._used.add(path)
            if not (path / KEY).exists():
                with whole(path / KEY) as draft:
                    draft.write_text(json.dumps(key, indent=1, default=str, sort_keys=True))
            with naming(path):
                yield path

    def arrays(self, what: str, key: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of a part; `make` is called if they are not there or not readable."""
        with self.held(what, key) as home:
            path = home / "arrays.npz"
            try:
                # numpy does not close a file that it cannot read.
                with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                    return {name: stored[name] for name in stored.files}
            except (OSError, ValueError, EOFError, zipfile.BadZipFile):
                made = make()
            with whole(path) as draft:
                np.savez(draft, allow_pickle=False, **made)
            return made


@contextmanager
def _lock(directory: Path, waits: Callable[[], object]) -> Iterator[None]:
    """Hold a directory; the kernel lets go when the process ends, however it does.

    Nobody is kept out where the file system knows no locks.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waits()
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _empty(directory: Path) -> None:
    """Remove what is in a directory; it stays itself, for those who wait for it."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def digest(key: Any) -> str:
    """Return 16 hex digits for any value that JSON, or str, can write."""
    text = json.dumps(key, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return a hash of a dataset's files, or of one file."""
    found = hashlib.sha256()
    files = sorted(path.glob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            found.update(file.name.encode())
            found.update(file.read_bytes())
    return found.hexdigest()[:16]


def code_of(*modules: str) -> str:
    """Return a hash of the source of modules and of all of ours that they import, lazily or not."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in seen and (imports := _imports(name)) is not None:
            seen.add(name)
            waiting += imports
    return digest([(name, _source(name)) for name in sorted(seen)])


@cache
def _imports(name: str) -> tuple[str, ...] | None:
    """Return the modules of ours that a module imports; None if it is no module."""
    text = _source(name)
    if text is None:
        return None
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(n for n in found if n.partition(".")[0] in _OURS)


@cache
def _source(name: str) -> str | None:
    """Return the text of a module, which is not imported for it; None if there is none."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*rest)
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return None
