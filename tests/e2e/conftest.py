"""One ground for all end-to-end tests: trained once, five processes started once.

The data is Complete Journey from its package, cut to some hundred households;
everything is made by the command a person would use, `plait demo --prepare-only`.
Tests use households and products of their own, so that they do not meet.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.client import Gateway
from cli.demo.places import Places
from cli.demo.shoppers import Cast, choose
from cli.fleet_config import FleetConfig
from cli.processes import Fleet
from cli.topology import Topology, on_free_ports
from models.data.dataset import Dataset, load_dataset
from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse, Shopper

PORTION = ("--households", "300", "--products", "1500", "--quick")


@dataclass(frozen=True, slots=True)
class Ground:
    """What was prepared."""

    places: Places
    data: Dataset
    cast: Cast


def plait(
    *arguments: str, seconds: float = 240.0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, "COLUMNS": "100", **(environment or {})},
    )


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    root = tmp_path_factory.mktemp("ground")
    # On a machine that others use it may take several times its minute and a half.
    done = plait("demo", "--prepare-only", "--root", str(root), *PORTION, seconds=900.0)
    assert done.returncode == 0, done.stdout + done.stderr
    places = Places(root)
    data = load_dataset(places.dataset)
    return Ground(places, data, choose(data))


class Processes:
    """The running five and a client."""

    def __init__(self, fleet: Fleet, gateway: Gateway, log: list[tuple[str, str]]) -> None:
        self.fleet = fleet
        self.gateway = gateway
        self.log = log

    @property
    def topology(self) -> Topology:
        return self.fleet.topology

    @property
    def address(self) -> str:
        return self.topology.gateway.address

    def home(self, user: str, *events: t.Event, **fields: Any) -> RecommendResponse:
        request = RecommendRequest(
            shopper=Shopper(user_id=user, events=events), surface=t.SURFACE_HOME, **fields
        )
        return self.recommend(request)

    def recommend(self, request: RecommendRequest) -> RecommendResponse:
        answer: RecommendResponse = self.gateway.call(
            self.gateway.recommendations.Recommend, request
        )
        return answer

    def whole(self, user: str = "") -> bool:
        """Whether all models that are asked take part in an answer."""
        answer = self.home(user or "nobody", t.Event(item_id="1", type=t.EVENT_TYPE_VIEW))
        return not answer.coverage.partial

    def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> bool:
        return until(condition, seconds)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Ask again and again; False if it does not come true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def fleet_config(ground: Ground, work: Path) -> FleetConfig:
    """Return five processes on free ports with a copy of the seeded store."""
    shutil.copyfile(ground.places.seed, work / "state.sqlite")
    return FleetConfig(
        repository=ground.places.models,
        state=work / "state.sqlite",
        topology=on_free_ports(),
        settings={
            "PLAIT_GATEWAY_EXPOSURE_LOG": str(work / "exposures.jsonl"),
            # Under a busy test machine an answer may take longer than a shop would allow.
            "PLAIT_GATEWAY_MAX_DEADLINE_MS": "3000",
            # Nor does it make answers depend on how busy the machine is.
            "PLAIT_GATEWAY_LEAST_QUALITY": "1",
        },
        first_pause=0.2,
    )


@pytest.fixture(scope="session")
def five(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    log: list[tuple[str, str]] = []
    config = fleet_config(ground, tmp_path_factory.mktemp("five"))
    with (
        Fleet(config, lambda name, line: log.append((name, line))) as fleet,
        Gateway(fleet.topology.gateway.address) as gateway,
    ):
        yield Processes(fleet, gateway, log)
