"""The canaries in force, and starting and ending them.

A change is checked against the running source, kept on disk, and only then in
force: what the caller was told survives a restart.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gateway.fanout import fan_out
from gateway.rollouts.canary import Canary
from gateway.rollouts.record import Record, RecordKeeper
from gateway.sources import Source
from gateway.types import Outcome, Question, SourceAnswer
from services.runtime.errors import FailedPrecondition, NotFound
from services.runtime.metrics import CANARY_SHARE

# A version loaded a moment ago may not be known to all parts yet.
_PATIENCE_SECONDS = 3.0
_PAUSE_SECONDS = 0.1
_NOBODY: Mapping[str, str] = {}


class Canaries:
    """What is rolled out. Belongs to the event loop."""

    def __init__(
        self,
        sources: Sequence[Source],
        keeper: RecordKeeper,
        look_again: Callable[[str], None],
    ) -> None:
        """`look_again` has a source's servers described anew."""
        self._sources = {source.name: source for source in sources}
        self._keeper = keeper
        self._look_again = look_again
        self._show()

    @property
    def running(self) -> Sequence[Canary]:
        """The canaries in force."""
        return self._keeper.record.canaries

    def versions_for(self, user_id: str) -> Mapping[str, str]:
        """Return the version that is to answer a shopper, by source; others the default."""
        if not self.running:
            return _NOBODY
        return {c.source: c.version for c in self.running if c.takes(user_id)}

    async def start(self, source: str, version: str, share: float) -> Canary:
        """Have a version answer a share of the shoppers, percent.

        Raises NotFound for an unknown source, FailedPrecondition where the version does
        not answer or is the default, Unavailable where the change cannot be kept.
        """
        self._known(source)
        async with self._keeper.changing:
            old = next((c for c in self.running if c.source == source), None)
            if old is not None and old.version == version:
                canary = Canary(source, version, share, old.salt, old.created_ms)
            else:
                now_ms = int(time.time() * 1000)
                canary = Canary(source, version, share, secrets.token_hex(8), now_ms)
            await self._check(source, version)
            await self._keep(self._keeper.record.with_canary(canary))
            return canary

    async def end(self, source: str) -> Canary | None:
        """Have the default version answer everybody; return what was ended.

        Raises NotFound for an unknown source, Unavailable where that cannot be kept.
        """
        async with self._keeper.changing:
            old = next((c for c in self.running if c.source == source), None)
            if old is None:
                self._known(source)
                return None
            await self._keep(self._keeper.record.without_canary(source))
            return old

    async def adopt(self, canaries: tuple[Canary, ...]) -> None:
        """Have the canaries that another gateway told of; raises Unavailable.

        Hold the record's `changing` meanwhile.
        """
        record = replace(self._keeper.record, canaries=canaries)
        await self._keeper.adopt(record, self._shown_anew())

    async def _keep(self, record: Record) -> None:
        await self._keeper.keep(record, self._shown_anew())

    def _shown_anew(self) -> Callable[[], None]:
        before = self._keeper.record.canaries

        def then() -> None:
            for old in before:
                CANARY_SHARE.remove(old.source, old.version)
            self._show()

        return then

    def _show(self) -> None:
        for canary in self._keeper.record.canaries:
            CANARY_SHARE.labels(canary.source, canary.version).set(canary.share / 100)

    def _known(self, source: str) -> None:
        if source not in self._sources:
            raise NotFound(f"source: no '{source}' here; there is {', '.join(self._sources)}")

    async def _check(self, source: str, version: str) -> None:
        """Ask the version something; raises FailedPrecondition where it is of no use."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            self._look_again(source)
            answer = await self._probe(source, version)
            if answer.outcome is Outcome.OK or time.monotonic() > end:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        if answer.outcome is not Outcome.OK:
            raise FailedPrecondition(
                f"{source}: version {version} does not answer ({answer.detail}); load it first: "
                f"plait models load {source} {version}"
            )
        if answer.version != version:
            raise FailedPrecondition(
                f"{source}: asked for version {version}, version {answer.version} answers: this "
                "server does not choose by version"
            )
        default = await self._probe(source, "")
        if default.outcome is Outcome.OK and default.version == version:
            raise FailedPrecondition(
                f"{source}: version {version} is the default one, it answers everybody already; "
                "name the one to try"
            )

    async def _probe(self, source: str, version: str) -> SourceAnswer:
        one = np.ones(1, np.float32)
        question = Question(np.ones(1, np.int64), one, text="a", k=1, version=version)
        until = time.perf_counter() + _PATIENCE_SECONDS
        return (await fan_out([self._sources[source]], {source: question}, until))[source]
