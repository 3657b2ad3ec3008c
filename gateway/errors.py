"""Why the gateway's own state cannot be used.

StoreError
 ├── StoreCorrupt   the file is damaged, not ours, or of a newer release
 ├── StoreInUse     another gateway holds it
 └── StoreFailed    a read or write failed while running (disk full, ...)
What a caller may be told (InvalidArgument, ...) is in services.runtime.errors.
"""


class StoreError(Exception):
    """The state file cannot be used; the message names it and the remedy."""


class StoreCorrupt(StoreError):
    """The file is damaged, is not a Plait state file, or comes from a newer release."""


class StoreInUse(StoreError):
    """Another gateway process holds the file."""


class StoreFailed(StoreError):
    """A read or write failed while running."""
