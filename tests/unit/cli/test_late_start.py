"""How long a start is waited for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import processes
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.processes import Fleet
from cli.topology import FUSION, STORE, Topology, on_free_ports
from gateway import app

FAKE = str(Path(__file__).with_name("fake_process.py"))


class Clock:
    """One on which a second passes whenever somebody looks; `then` happens some looks later."""

    def __init__(self) -> None:
        self.now = 0.0
        self.then: Callable[[], object] | None = None
        self._looks = 0

    def __call__(self) -> float:
        self.now += 1.0
        self._looks += self.then is not None
        if self.then is not None and self._looks > 5:
            self.then()
        return self.now


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the gateway says, by health name."""
    said = {"": "not serving", STORE: "not serving"}
    monkeypatch.setattr(processes, "health", lambda _, name="": said[name])
    return said


@pytest.fixture
def late(tmp_path: Path) -> FleetConfig:
    """A gateway that is late at once."""
    (tmp_path / FUSION / "1").mkdir(parents=True)
    (tmp_path / FUSION / "1" / "manifest.json").touch()
    gateway = replace(on_free_ports().gateway, program=(FAKE, "gateway"))
    return FleetConfig(
        repository=tmp_path,
        state=tmp_path / "state.sqlite",
        topology=Topology(gateway, ()),
        settings={"FAKE_NOTES": str(tmp_path / "notes")},
        start_seconds=0.0,
    )


def test_a_gateway_that_repairs_its_state_file_is_waited_for(
    late: FleetConfig, states: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.STORE == STORE
    clock = Clock()
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=clock))
    lines: list[str] = []

    def go_on(_: str, line: str) -> None:
        lines.append(line)
        if "repairs its state file" in line:
            states[STORE] = "serving"  # repaired: what was saved is to be read now
            clock.then = lambda: states.update({"": "serving"})

    with Fleet(replace(late, start_seconds=10.0, restart=False), go_on):
        assert sum("repairs its state file" in line for line in lines) == 1


def test_one_that_is_late_for_another_reason_is_not(
    late: FleetConfig, states: dict[str, str]
) -> None:
    states[STORE] = "serving"
    with pytest.raises(UserError, match="gateway does not serve after 0 s"):
        Fleet(late).start()
