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
            _log.info("compiled for this process only", extra={"reason": str(error)})
            return cast(F, numba.njit(types, **options)(function))

    return compile_
