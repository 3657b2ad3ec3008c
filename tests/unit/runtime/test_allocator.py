"""Large blocks that are freed go back to the system, whatever lives on behind them."""

import platform
import subprocess
import sys

import pytest

# Blocks of 2 MB, each with one behind it that lives on (too large for the holes that there
# are before, too small to be asked of the system alone), after a larger one has been freed;
# says how much of them the process keeps, in MB.
_WORK = """
import ctypes, os, sys
from services.runtime import allocator

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

print(allocator.give_large_back(os.environ) if sys.argv[1] == "told" else False)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def block(size):
    place = libc.malloc(size)
    ctypes.memset(place, 1, size)
    return place

libc.free(block(16 << 20))
before = resident()
large = []
for _ in range(30):
    large.append(block(2 << 20))
    block(100_000)
for place in large:
    libc.free(place)
print(resident() - before)
"""


def _kept(told: str, **environ: str) -> tuple[bool, float]:
    done = subprocess.run(
        [sys.executable, "-c", _WORK, told],
        capture_output=True, text=True, check=True, env=environ,
    )  # fmt: skip
    said, kept = done.stdout.split()
    return said == "True", float(kept)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is told")
class TestGivingLargeBack:
    def test_left_alone_a_process_keeps_them(self) -> None:
        assert _kept("left")[1] > 40

    def test_told_it_does_not(self) -> None:
        told, kept = _kept("told")
        assert told
        assert kept < 10

    def test_a_bound_of_the_operators_stays(self) -> None:
        told, kept = _kept("told", MALLOC_MMAP_THRESHOLD_=str(32 << 20))
        assert not told
        assert kept > 40
