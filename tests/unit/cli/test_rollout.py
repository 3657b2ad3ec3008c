"""`plait models ...` against a real model service and a real gateway."""

import asyncio
import json
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from services.cf.server import SOURCE as CF
from tests.integration.gateway.world import COUNT, open_shop, prepare, publish_fusion
from tests.support.artifacts import Tiny, publish, publish_with_wrong_samples
from tests.support.servers import PATIENCE, serving
from tests.unit.cli.conftest import Run


@dataclass(frozen=True)
class Fleet:
    repository: Path
    at: tuple[str, ...]
    run: Run

    def models(self, *arguments: str) -> Result:
        """Run `plait models ...` against these processes."""
        return self.run("models", *arguments, *self.at)

    def facts(self, *arguments: str) -> object:
        result = self.models(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def fleet(tmp_path: Path, run: Run) -> Iterator[Fleet]:
    """cf and a gateway on a loop of their own, as `plait up` would run them."""
    prepare(tmp_path)
    repository = tmp_path / "models"
    for seed in (0, 9):
        publish(repository, tiny(seed))
    (repository / "cf" / ".serving.json").write_text(
        json.dumps({"default": 1, "beside": [], "previous": None})
    )
    started, stop, ports = threading.Event(), asyncio.Event(), dict[str, str]()

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            cf = await stack.enter_async_context(serving(CF, repository))
            address = f"cf=127.0.0.1:{cf.port}"
            shop = await stack.enter_async_context(
                open_shop(
                    tmp_path, sources={}, addresses=(address,), item_encoders=(), contact_ms=10_000
                )
            )
            ports["cf"] = f"{address}/{cf.metrics_port}"
            ports["gateway"] = f"gateway=127.0.0.1:{shop.server.port}/{shop.server.metrics_port}"
            started.set()
            await stop.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(PATIENCE)
    try:
        yield Fleet(repository, ("--at", ports["cf"], "--at", ports["gateway"]), run)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()


def tiny(seed: int) -> Tiny:
    return Tiny(items=COUNT, first_key=1, step=1, seed=seed)


def test_a_version_is_loaded_tried_promoted_and_taken_back(fleet: Fleet) -> None:
    assert fleet.facts("load", "cf") == {"source": "cf", "default": "1", "beside": ["2"]}
    said = fleet.models("canary", "cf", "2", "--share", "10")
    assert "version 2 answers 10 % of the shoppers" in said.output
    assert fleet.facts("promote", "cf") == {"source": "cf", "default": "2"}
    assert "no canary to promote: name a version" in fleet.models("promote", "cf").output
    back = fleet.models("rollback", "cf")
    assert "cf: version 1 answers everybody" in back.output
    again = fleet.models("rollback", "cf")
    assert again.exit_code == 1
    assert "no version was the default before" in again.output


def test_what_is_said_to_come_next_is_about_the_same_processes(fleet: Fleet) -> None:
    """As it stands it can be typed; without the places it would change another fleet."""
    said = fleet.models("load", "cf", "2").output
    for _ in range(2):  # the canary, then its promotion
        command = re.findall("`plait (models (?:canary|promote)[^`\n]*)`", said)[0]
        done = fleet.run(*shlex.split(command))
        assert done.exit_code == 0, done.output
        said = done.output
    assert "cf: version 2 answers everybody" in said


def test_places_said_before_the_command_hold_for_it(fleet: Fleet) -> None:
    result = fleet.run("models", *fleet.at, "--json", "load", "cf")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"source": "cf", "default": "1", "beside": ["2"]}


def test_rollback_ends_a_canary_and_frees_its_version(fleet: Fleet) -> None:
    fleet.models("load", "cf", "2")
    fleet.models("canary", "cf", "2", "--share", "50")
    said = fleet.models("rollback", "cf")
    assert "the canary of version 2 has ended, the default answers everybody" in said.output
    assert "version 2 is not loaded" in fleet.models("unload", "cf", "2").output


def test_a_canary_ends_where_the_service_takes_no_orders(fleet: Fleet) -> None:
    """The processes of these tests are one, so the gateway says it has cf, as an embedded one."""
    gateway, nowhere = fleet.at[-1], ("--base-port", "1", "--json")
    blind = f"{gateway.rpartition('/')[0]}/1"
    for at, said in (
        (gateway, "version 2 stays loaded: cf is a part of the gateway"),
        # Nobody says what is within it.
        (blind, "127.0.0.1:2 does not answer, so version 2 may still be loaded there"),
    ):
        fleet.models("load", "cf", "2")
        fleet.models("canary", "cf", "2", "--share", "50")
        away = fleet.run("models", "rollback", "cf", "--at", at, *nowhere)
        assert away.exit_code == 0
        assert json.loads(away.stdout) == {"source": "cf", "ended": "2"}
        assert said in away.stderr


def test_a_version_that_the_gateway_has_no_more_is_not_said_to_stay(fleet: Fleet) -> None:
    """As after a start of an embedded gateway without what it had beside the default version."""
    publish(fleet.repository, tiny(5))
    fleet.models("load", "cf", "3")
    fleet.models("canary", "cf", "3", "--share", "50")
    fleet.models("unload", "cf", "3")
    ended = fleet.run("models", "rollback", "cf", "--at", fleet.at[-1], "--base-port", "1")
    assert "the canary of version 3 has ended" in ended.output
    assert "loaded" not in ended.stderr


def test_what_is_refused_is_one_line_that_says_why(fleet: Fleet) -> None:
    publish_with_wrong_samples(fleet.repository, tiny(4))
    for arguments, said in {
        ("load", "cf", "3"): "sample 0 of manifest.json gave another answer",
        ("promote", "cf", "3"): "sample 0 of manifest.json gave another answer",
        ("load", "cf", "8"): "version 8 (found: 1, 2, 3)",
        ("canary", "cf", "2", "--share", "5"): "plait models load cf 2",
        ("unload", "cf", "1"): "version 1 is the default one",
        ("load", "nobody", "2"): "There is no source 'nobody' here; there is content,",
        ("canary", "nobody", "2", "--share", "5"): "source: no 'nobody' here",
    }.items():
        result = fleet.models(*arguments)
        assert result.exit_code == 1, arguments
        assert said in " ".join(result.output.split()), arguments


def test_what_fails_half_way_says_which_servers_are_changed(fleet: Fleet) -> None:
    gone = ("--at", "cf=127.0.0.1:1/1")
    cf = fleet.at[1].removeprefix("cf=").partition("/")[0]
    for command, done in (
        (("load", "cf", "2"), "loaded version 2"),
        (("promote", "cf", "2"), "answer by version 2"),
        (("rollback", "cf"), "answer by version 1"),
    ):
        failed = fleet.run("models", *command, *fleet.at, *gone)
        assert failed.exit_code == 1
        said = " ".join(failed.output.split())
        assert f"Changed before that: {cf} {done}; once all answer" in said
        # As it is said it can be typed, for all of them.
        (again,) = re.findall("`plait (models (?:load|promote) cf [12][^`]*)`", said)
        assert gone[1] in again


def test_a_promotion_whose_canary_does_not_end_says_what_is_changed(fleet: Fleet) -> None:
    away = ("--at", fleet.at[1], "--at", "gateway=127.0.0.1:1/1")
    failed = fleet.run("models", "promote", "cf", "2", *away)
    assert failed.exit_code == 1
    assert "answer by version 2; once all answer" in " ".join(failed.output.split())


def test_models_within_the_gateway_change_with_it(fleet: Fleet) -> None:
    """The processes of these tests are one, so the gateway says it has cf, as an embedded one."""
    for command in (("load", "cf"), ("promote", "cf", "2"), ("unload", "cf", "2")):
        failed = fleet.run("models", *command, "--at", "cf=127.0.0.1:1/1", *fleet.at[2:])
        said = " ".join(failed.output.split())
        assert failed.exit_code == 1
        assert "change with a restart" in said
        assert "PLAIT_CF_VERSION" in said


def test_the_gateways_own_artifact_is_promoted_and_taken_back(fleet: Fleet) -> None:
    publish_fusion(fleet.repository)
    said = fleet.models("promote", "fusion").output
    assert "fusion: the gateway uses version 2; back to 1 with" in said
    assert fleet.facts("rollback", "fusion") == {"source": "fusion", "default": "1"}
    assert fleet.models("rollback", "fusion").exit_code == 1
    for version in ("newest", "0"):
        assert fleet.models("promote", "fusion", version).exit_code == 2
    assert "one fusion at a time" in fleet.models("load", "fusion").output
    assert "version 7 (found: 1, 2)" in fleet.models("promote", "fusion", "7").output


def test_loading_the_default_again_says_so(fleet: Fleet) -> None:
    assert "version 1 is the default already" in fleet.models("load", "cf", "1").output


def test_a_version_is_unloaded_by_number(fleet: Fleet) -> None:
    fleet.models("load", "cf", "2")
    assert fleet.facts("unload", "cf", "2") == {"source": "cf", "default": "1", "beside": []}


def test_a_service_that_is_away_is_named(run: Run) -> None:
    result = run("models", "load", "cf", "2", "--base-port", "1")
    assert result.exit_code == 1
    assert "The cf service at 127.0.0.1:2 does not answer" in " ".join(result.output.split())


@pytest.mark.parametrize("share", ["0", "101", "half"])
def test_a_share_is_a_percentage(run: Run, share: str) -> None:
    assert run("models", "canary", "cf", "2", "--share", share).exit_code == 2
