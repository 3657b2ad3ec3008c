"""What is rolled out, kept beside the state file so that a restart changes nothing.

A small JSON file a person can read, replaced all at once. It is not in the state
file itself: restoring yesterday's events must not bring back yesterday's canary.
"""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gateway.rollouts.canary import Canary
from services.runtime.errors import Unavailable
from services.runtime.finishing import to_the_end

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that operators decided at run time."""

    canaries: tuple[Canary, ...] = ()
    # Version of the fusion artifact; None: that of the settings, or the newest.
    fusion: int | None = None
    # What served before it; None: nothing to go back to.
    fusion_before: int | None = None

    def with_canary(self, canary: Canary) -> "Record":
        """Return the record with a canary in the place of its source's."""
        others = self.without_canary(canary.source).canaries
        return replace(self, canaries=(*others, canary))

    def without_canary(self, source: str) -> "Record":
        """Return the record without a source's canary."""
        return replace(self, canaries=tuple(c for c in self.canaries if c.source != source))


class RecordFile:
    """The file beside a state file."""

    def __init__(self, state: Path) -> None:
        # By all of its name: a folder may hold state files of one stem.
        self._path = state.with_name(f"{state.name}.rollouts.json")
        # Of releases that shared one among these; read until the first write.
        self._shared = state.with_suffix(".rollouts.json")

    def read(self) -> Record:
        """Return what is kept; nothing where the file is absent or damaged, which is logged.

        Never raises: without it every shopper is answered, by the default versions.
        """
        path = self._path if self._path.exists() else self._shared
        try:
            return parse(path.read_text())
        except FileNotFoundError:
            return Record()
        except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
            _log.error(
                "rollouts not read, default versions answer everybody",
                extra={"file": str(path), "reason": str(error)},
            )
            return Record()

    def forget(self) -> None:
        """Keep nothing: it was that of a state file which is gone. Raises OSError."""
        if self.read() != Record():
            _log.warning("rollouts of an earlier state file go", extra={"file": str(self._path)})
            self.write(Record())

    def write(self, record: Record) -> None:
        """Keep a record, durably; raises OSError. Blocks for a disk write."""
        draft = self._path.with_name(f"{self._path.name}.draft")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as file:
            file.write(written(record))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)


class RecordKeeper:
    """The record in force; on disk first, then here. Belongs to the event loop.

    Hold `changing` from reading the record to keeping its successor.
    """

    def __init__(self, file: RecordFile, record: Record) -> None:
        self._file = file
        self.record = record
        self.changing = asyncio.Lock()
        self._announce: Callable[[Record], Awaitable[None]] | None = None

    def share(self, announce: Callable[[Record], Awaitable[None]]) -> None:
        """Tell other gateways of every record from now on; `announce` raises Unavailable."""
        self._announce = announce

    async def keep(self, record: Record, then: Callable[[], None]) -> None:
        """Put a record on disk, then in force, and run `then`; also if the caller goes meanwhile.

        What is on disk is what the next start serves, so it must be in force before it; what
        is in force here, other gateways must be told of. Raises Unavailable where it cannot be
        kept, or they were not told.
        """
        await to_the_end(self._keep_and_announce(record, then))

    async def adopt(self, record: Record, then: Callable[[], None]) -> None:
        """As `keep`, for a record that another gateway told of; raises Unavailable."""
        await to_the_end(self._keep(record, then))

    async def _keep_and_announce(self, record: Record, then: Callable[[], None]) -> None:
        await self._keep(record, then)
        if self._announce is not None:
            await self._announce(record)

    async def _keep(self, record: Record, then: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(self._file.write, record)
        except OSError as error:
            raise Unavailable(f"nothing was changed: it cannot be kept ({error})") from None
        self.record = record
        then()


def written(record: Record) -> str:
    """Return a record as it lies beside a state file."""
    return json.dumps(asdict(record), indent=1)


def parse(text: str) -> Record:
    """Read what `written` wrote; raises ValueError, OverflowError, KeyError or TypeError."""
    raw: dict[str, Any] = json.loads(text)
    canaries = tuple(
        Canary(
            str(c["source"]), str(c["version"]), float(c["share"]), str(c["salt"]),
            int(c["created_ms"]),
        )
        for c in raw["canaries"]
    )  # fmt: skip
    return Record(canaries, _number(raw.get("fusion")), _number(raw.get("fusion_before")))


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
