"""Before each piece of heavy work whoever is at the door comes in.

grpc.aio takes in one call in about three turns of the event loop. When every turn
does heavy work, calls queue inside the transport, first come first served, where no
gate sees them, and arrive with their time nearly over. So work is done piece by
piece, and in between the loop turns freely for as long as somebody comes in.
docs/decisions/0010 has the figures.
"""

import asyncio

from gateway.traffic import Traffic

# Turns of the loop that a call needs to come in.
_TURNS = 3
# Calls that come in before a piece of work at most, so that a flood of refusals cannot
# stop it: more than twice what can be offered for each ranking at three times the capacity.
_MOST = 10


class Turns:
    """The pauses before pieces of work. Belongs to the event loop."""

    def __init__(self, traffic: Traffic) -> None:
        """`traffic`: what goes on besides."""
        self._traffic = traffic

    @property
    def alone(self) -> bool:
        """Whether at most one ranking is being made: it holds nobody up."""
        return self._traffic.inside <= 1

    async def let_in(self) -> None:
        """Let the loop turn for as long as somebody comes in."""
        traffic = self._traffic
        for _ in range(_MOST):
            # Work is waiting all the while: no reason to send small batches.
            traffic.moves += 1
            before = traffic.came
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if traffic.came == before:
                return
