"""Loops that numba compiles: for arrays of some hundred numbers, numpy's calls are the cost.

A call of numpy takes about a microsecond however little it does, and the stages of a
ranking make hundreds of them. A loop over candidates, compiled, does the same in the
time of one. Each is compiled for the types it names when its module is first imported
(some seconds for all of them), and kept beside the module or in NUMBA_CACHE_DIR; where
neither can be written or read, every process compiles anew.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import event

_log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])

# Arrays that are only read, so that views on answers and on snapshots fit as well.
BYTES = numba.types.Array(numba.uint8, 1, "C", readonly=True)
SMALLS = numba.types.Array(numba.int8, 1, "C", readonly=True)
BOOLS = numba.types.Array(numba.bool_, 1, "C", readonly=True)
ROWS = numba.types.Array(numba.int32, 1, "C", readonly=True)
INTS = numba.types.Array(numba.int64, 1, "C", readonly=True)
FLOATS = numba.types.Array(numba.float32, 1, "C", readonly=True)
TABLE = numba.types.Array(numba.float32, 2, "C", readonly=True)
INT_TABLE = numba.types.Array(numba.int32, 2, "C", readonly=True)
DOUBLES = numba.types.Array(numba.float64, 2, "C", readonly=True)
# Arrays that are written to.
WRITTEN = numba.types.Array(numba.float32, 1, "C")
WRITTEN_TABLE = numba.types.Array(numba.float32, 2, "C")
WRITTEN_BYTES = numba.types.Array(numba.uint8, 1, "C")
WRITTEN_CODES = numba.types.Array(numba.uint8, 2, "C")
WRITTEN_KEYS = numba.types.Array(numba.int64, 2, "C")
WRITTEN_INTS = numba.types.Array(numba.int64, 1, "C")
WRITTEN_ROWS = numba.types.Array(numba.int32, 1, "C")
NUMBER = numba.int64
FLAG = numba.bool_
REAL = numba.float64


class _Says(event.Listener):
    """Says once that this process compiles, as it begins: on a slow machine that is a minute."""

    def __init__(self) -> None:
        self.begun = self.anew = False

    def on_start(self, event: Any) -> None:  # noqa: ARG002 -- numba gives it
        """Hear that numba compiles what it has not found where things are kept."""
        if not self.begun:
            self.begun = True
            where = getattr(numba.config, "CACHE_DIR", "") or "beside the modules"
            _log.info("compiling: nothing kept by an earlier start fits", extra={"kept": where})

    def on_end(self, event: Any) -> None:
        """Hear that one function is compiled."""

    def not_kept(self, error: Exception) -> None:
        """Say once that what is compiled is not kept, so that the next start compiles again."""
        if not self.anew:
            self.anew = True
            _log.info("compiled for this process only", extra={"reason": str(error)})


_says = _Says()
event.register("numba:compile", _says)  # type: ignore[no-untyped-call]


def compiled(*types: Any, reorder: bool = False, alone: bool = False) -> Callable[[F], F]:
    """Compile a function for arguments of these types; arrays must be contiguous.

    `reorder` lets sums be added up in any order, which makes long ones several times
    faster and the last digits a matter of the processor. `alone` lets other threads run
    meanwhile: for what takes long and is not called from the event loop.
    """
    options: dict[str, Any] = {"error_model": "numpy", "nogil": alone}
    if reorder:
        options["fastmath"] = {"reassoc", "contract", "nsz"}

    def compile_(function: F) -> F:
        try:
            return cast(F, numba.njit(types, cache=True, **options)(function))
        # There is no place to keep it, or no room, or what is kept there is not whole. What is
        # wrong with the function itself, the second time says too.
        except Exception as error:
            _says.not_kept(error)
            return cast(F, numba.njit(types, **options)(function))

    return compile_
