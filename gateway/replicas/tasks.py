"""Ending tasks without swallowing one's own cancellation.

`with suppress(CancelledError): await task` also suppresses being cancelled oneself
while waiting there, and then nobody ever ends.
"""

import asyncio
from typing import Any


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
