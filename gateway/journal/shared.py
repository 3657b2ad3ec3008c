"""How the parts that write see a journal."""

from typing import Any, Protocol

from gateway.journal.entries import Write


class Shared(Protocol):
    """Takes writes for all gateways."""

    async def write(self, write: Write) -> Any:
        """Have all gateways take in a write; return what became of it here.

        Raises StoreFailed.
        """
        ...

    @property
    def trouble(self) -> str:
        """Why the journal is away, or nothing at all."""
        ...


class Followed(Shared, Protocol):
    """As who keeps something beside the journal sees it."""

    @property
    def losses(self) -> int:
        """How often the journal was found to have lost entries that were taken in here."""
        ...

    async def level(self, last: int, seconds: float) -> bool:
        """Wait until everything up to a position is taken in; say whether it was in time."""
        ...
