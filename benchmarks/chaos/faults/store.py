"""The gateway's disk fills up; its state file is damaged. Rankings go on all the while.

Events come in meanwhile, each call sent again until it is acknowledged: what was
acknowledged must be there at the end.
"""

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.chaos.events import EventStream
from benchmarks.chaos.faults.sources import shoppers
from benchmarks.chaos.load import OPTIONS
from benchmarks.chaos.trial import Check, Scale, Wiring
from benchmarks.chaos.world import World
from plait.v1.profile_service_pb2 import GetProfileRequest
from plait.v1.profile_service_pb2_grpc import ProfileServiceStub

WIRING = Wiring(small_disk=True)
_PAGE = 4096
# Part of the file's pages that are overwritten, and of the acknowledged events that a
# repair must bring back: they are stored twice over, on different pages.
_DAMAGE = 0.01
_SAVED = 0.95


@dataclass(frozen=True, slots=True)
class StoreTrial:
    """Trouble with the state file, brought about and seen to the end."""

    name: str
    fault: str
    act: Callable[[World], None]
    undo: Callable[[World], None]
    # What the metric calls the trouble.
    reason: str
    # Part of the acknowledged events that must be there at the end.
    kept: float
    wiring: Wiring = WIRING

    def run(self, world: World, scale: Scale) -> Sequence[Check]:
        """Load and events, trouble, until the gateway says so; mend, until it says so too."""
        stream = EventStream(world.address, world.items, scale.events_per_second, scale.patience)
        with world.load(world.rate) as load, _Watch(world) as watch, stream:
            time.sleep(scale.calm)
            began = time.monotonic()
            try:
                self.act(world)
                said = world.until(lambda: watch.saw(self.reason))
                time.sleep(scale.hold)
            finally:
                self.undo(world)
            well = world.until(watch.well)
            before = len(stream.acknowledged)
            resumed = world.until(lambda: len(stream.acknowledged) > before)
            time.sleep(scale.calm)
        return [
            *shoppers(load.account.between(began), scale),
            Check(
                "health and metrics say it",
                f"health `store` {'said' if watch.unwell else 'DID NOT SAY'} it, "
                f"plait_store_state: {', '.join(sorted(watch.states)) or 'nothing'}",
                said and watch.unwell,
            ),
            Check(
                "the gateway stays ready",
                "NOT_SERVING seen" if watch.unready else "SERVING throughout",
                not watch.unready,
            ),
            Check(
                "events are taken again by themselves",
                f"{stream.refusals} calls were refused meanwhile",
                well and resumed,
            ),
            _kept(world, stream, self.kept),
        ]


class _Watch:
    """Follows what the gateway says of itself, as a balancer and Prometheus would."""

    def __init__(self, world: World) -> None:
        self.states: set[str] = set()
        self.unwell = False
        self.unready = False
        self._world = world

    def __enter__(self) -> "_Watch":
        self._channel = grpc.insecure_channel(self._world.address, options=OPTIONS)
        self._stub = health_pb2_grpc.HealthStub(self._channel)
        return self

    def __exit__(self, *error: object) -> None:
        self._channel.close()

    def saw(self, reason: str) -> bool:
        """Look once; say whether health and metrics have told of this reason by now."""
        self._look()
        return self.unwell and reason in self.states

    def well(self) -> bool:
        """Look once; say whether the store is well now."""
        return self._look()

    def _look(self) -> bool:
        self.unready |= not self._serves("")
        well = self._serves("store")
        self.unwell |= not well
        seen = self._world.scrape()
        for reason in ("full", "failing", "damaged"):
            if seen.sum("plait_store_state", reason=reason):
                self.states.add(reason)
        return bool(well and seen.sum("plait_store_state", reason="ok") == 1)

    def _serves(self, name: str) -> bool:
        asked = health_pb2.HealthCheckRequest(service=name)
        status = self._stub.Check(asked, timeout=10.0).status
        return bool(status == health_pb2.HealthCheckResponse.SERVING)


def _kept(world: World, stream: EventStream, share: float) -> Check:
    with closing(sqlite3.connect(f"file:{world.state}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT event_id FROM events WHERE event_id LIKE 'chaos-%'")
        stored = [row[0] for row in rows]
    acknowledged = stream.acknowledged
    found = len(acknowledged & set(stored))
    doubled = len(stored) - len(set(stored))
    return Check(
        "acknowledged events are there, and once"
        if share == 1
        else f"{100 * share:.0f} % of the acknowledged events are saved, and once",
        f"{found:,} of {len(acknowledged):,}, {doubled} twice",
        bool(acknowledged) and found >= share * len(acknowledged) and not doubled,
    )


def _damage(world: World) -> None:
    """Overwrite pages of the open file with noise, and have the gateway meet them."""
    chance = random.Random(world.scale.seed)  # noqa: S311 -- not for secrets
    with world.state.open("r+b") as file:
        pages = world.state.stat().st_size // _PAGE
        # The first page says what the file is; without it nobody may touch the rest.
        for number in chance.sample(range(1, pages), max(int(_DAMAGE * pages), 20)):
            file.seek(number * _PAGE)
            file.write(chance.randbytes(_PAGE))
    _look_up(world)


def _look_up(world: World) -> None:
    """Ask for profiles, which are read from the file, until one cannot be.

    Those who are in memory already would not meet the damage for hours.
    """
    with grpc.insecure_channel(world.address, options=OPTIONS) as channel:
        stub = ProfileServiceStub(channel)
        for user in world.users:
            request = GetProfileRequest(user_id=user)
            try:
                stub.GetProfile(request, timeout=10.0)
            except grpc.RpcError:
                return


def _nothing(world: World) -> None:
    """Leave it to the gateway."""
    del world


TRIALS = (
    StoreTrial(
        "disk-full",
        "the gateway's disk is full",
        lambda world: world.disk.fill(),
        lambda world: world.disk.free(),
        reason="full",
        kept=1.0,
    ),
    StoreTrial(
        "store-damaged",
        f"{100 * _DAMAGE:.0f} % of the state file is overwritten",
        _damage,
        _nothing,
        reason="damaged",
        kept=_SAVED,
    ),
)
