"""glibc's allocator, told to give what is large back to the system.

It starts by asking the system for each block above 128 kB alone, and gives the block back
when it is freed. But each such block that is freed raises the bound to its size, up to
32 MB, and from then on blocks below it are cut from the heap, where one small object that
lives on behind them keeps all of their memory. A process that was once sent some messages
of many megabytes stays a third larger. A bound that is set does not rise (mallopt(3)).
"""

import ctypes
import platform
from collections.abc import Mapping

# More than anything that a usual request allocates, which the heap serves faster.
LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3
_SET_BY_OPERATOR = "MALLOC_MMAP_THRESHOLD_"


def give_large_back(environ: Mapping[str, str]) -> bool:
    """Fix the bound; return whether it was: not without glibc, nor where the operator set one."""
    if platform.libc_ver()[0] != "glibc" or _SET_BY_OPERATOR in environ:
        return False
    return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
