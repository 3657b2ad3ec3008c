"""Python's garbage collector, told to keep its pauses short.

While it looks for cycles the event loop stands still. Left alone, it goes through
everything that the process has come to hold (shoppers, kept rankings) whenever that has
grown by a quarter: pauses of 50 ms in a busy gateway, and the p99 of its latency. Here
only young objects are looked at as work goes on. Older ones follow every ten seconds, and
what is still alive then is set aside, so that the next time only the news is looked at.
Every ten minutes all is, in case some of it has become a cycle that nobody holds.
"""

import asyncio
import gc

# Allocations that start a look at the youngest, and such looks that start one at the next
# generation; never at the oldest, that is done here. Less: shorter pauses and more of them.
_YOUNG, _NEXT, _NEVER = 1_000, 5, 1_000_000_000
_PAUSE_SECONDS = 10.0
_EVERYTHING = 60  # in pauses


def settle() -> None:
    """Collect, set aside all that is left, and from now on look at young objects alone."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _NEXT, _NEVER)


async def look_after(pause: float = _PAUSE_SECONDS) -> None:
    """Look at older objects now and then, `pause` seconds apart; runs until cancelled."""
    while True:
        for _ in range(_EVERYTHING):
            await asyncio.sleep(pause)
            gc.collect()
            gc.freeze()
        settle()
