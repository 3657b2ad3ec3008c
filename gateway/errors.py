"""Why the gateway's own state cannot be used.

StoreError
 ├── StoreCorrupt       the file is not ours, of a newer release, or beyond repair
 │    └── StoreDamaged  a part of it cannot be read; what is left can be saved
 ├── StoreInUse         another gateway holds it
 └── StoreFailed        a read or write failed while running (disk full, ...)
      ├── StoreBusy     more writes wait than the disk can take
      ├── StoreRefused  this write alone does not go; others do
      ├── StoreUnseen   this write is in the file, and memory lacks it
      └── JournalAway   the journal that several gateways share takes and gives nothing
           └── TakenLater  it has this write, which this gateway has not taken in yet
What a caller may be told (InvalidArgument, ...) is in services.runtime.errors.
"""


class StoreError(Exception):
    """The state file cannot be used; the message names it and the remedy."""


class StoreCorrupt(StoreError):
    """The file is not a Plait state file, comes from a newer release, or is beyond repair."""


class StoreDamaged(StoreCorrupt):
    """A part of the file cannot be read; what is left can be saved (gateway/salvage.py)."""


class StoreInUse(StoreError):
    """Another gateway process holds the file."""


class StoreFailed(StoreError):
    """A read or write failed while running."""

    @property
    def told(self) -> str:
        """What a caller of the API is told; the message, unless it is for operators alone."""
        return str(self)


class StoreBusy(StoreFailed):
    """More writes wait than the disk can take for now."""


class StoreRefused(StoreFailed):
    """The file does not take this write, whatever the disk does; it takes others."""


class StoreUnseen(StoreFailed):
    """The file has the write, and memory does not: only a restart shows it."""


class JournalAway(StoreFailed):
    """The journal that several gateways share cannot be reached, or refuses."""

    # Without the reason, which names Valkey's address and is in the log.
    told = "the journal is away"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{JournalAway.told} ({reason})")
        self.reason = reason


class TakenLater(JournalAway):
    """The journal has the write, so the others take it in; this gateway will too."""

    # Sending it again does no harm.
    told = "written to the journal, but not taken in by this gateway yet"
