"""A new version, a rollback and damaged versions of a model, under load.

A damaged version must never answer anybody: neither when it is asked for by name, nor
when the process dies and finds it as the newest in its repository.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artifacts import layout
from artifacts import manifest as manifests
from benchmarks.chaos.account import Account
from benchmarks.chaos.faults.sources import shoppers
from benchmarks.chaos.trial import PLAIN, Check, Scale, Wiring
from benchmarks.chaos.world import World
from cli.failures import UserError
from cli.model_server import PREVIOUS, ModelServer
from plait.v1.manifest_pb2 import Manifest

_SOURCE = "cf"
_LOAD_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class VersionTrial:
    """Versions come and go while shoppers ask."""

    name: str = "versions"
    fault: str = "new version, rollback, damaged versions, then kill -9"
    wiring: Wiring = PLAIN

    def run(self, world: World, scale: Scale) -> Sequence[Check]:
        """Publish and load, roll back, try damaged ones, kill; the account says who answered."""
        before = layout.find(world.repository, _SOURCE).name
        end = world.fleet.topology.find(_SOURCE)
        with (
            ModelServer(_SOURCE, end.address, _LOAD_SECONDS) as server,
            world.load(world.rate) as load,
        ):
            account = load.account

            def answers_by(version: str) -> bool:
                """Wait until shoppers are answered by a version."""
                since = time.monotonic()
                return world.until(lambda: _used(account, version, since))

            time.sleep(scale.calm)
            began = time.monotonic()
            new = _publish(world.repository, before)
            server.load(new)
            moved = answers_by(new)
            server.load(PREVIOUS)
            back = answers_by(before)
            bad = [_publish(world.repository, before, damage) for damage in (_flip, _lie)]
            refusals = [_refusal(server, version) for version in bad]
            killed = world.fleet.kill(_SOURCE)
            world.until(lambda: world.fleet.pid(_SOURCE) != killed)
            again = answers_by(before)
            time.sleep(scale.calm)
        for version in (new, *bad):
            shutil.rmtree(world.repository / _SOURCE / version)
        seen = account.between(began)
        served = {c.versions[_SOURCE] for c in seen.calls if c.sources.get(_SOURCE) == "OK"}
        return [
            *shoppers(seen, scale),
            Check("the new version answers", f"version {new}", moved),
            Check("after a rollback the old one does", f"version {before}", back),
            Check(
                "damaged versions are refused by name",
                "; ".join(r or "one was loaded" for r in refusals),
                all(version in (r or "") for r, version in zip(refusals, bad, strict=True)),
            ),
            Check(
                "and never serve, also after kill -9",
                f"versions {', '.join(sorted(served))} served; damaged: {', '.join(bad)}",
                again and not served & set(bad),
            ),
        ]


def _used(account: Account, version: str, since: float) -> bool:
    return any(
        c.due >= since and c.sources.get(_SOURCE) == "OK" and c.versions[_SOURCE] == version
        for c in account.calls[-200:]
    )


def _publish(
    repository: Path, like: str, change: Callable[[Path, Manifest], None] | None = None
) -> str:
    """Publish a copy of a version, whole or changed; return its number."""
    with layout.publish(repository, _SOURCE) as (draft, version):
        shutil.copytree(repository / _SOURCE / like, draft, dirs_exist_ok=True)
        manifest = manifests.read(draft)
        manifest.version = version
        manifests.write(draft, manifest, np.load(draft / manifests.ITEM_KEYS))
        if change is not None:
            change(draft, manifest)
    return str(version)


def _flip(directory: Path, manifest: Manifest) -> None:
    """Change one bit of the model, as a bad copy does."""
    del manifest
    path = directory / manifests.MODEL
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))


def _lie(directory: Path, manifest: Manifest) -> None:
    """Record answers that the model does not give: the wrong files, though whole."""
    for sample in manifest.samples:
        sample.expected_scores[:] = [score + 1.0 for score in sample.expected_scores]
    manifests.write(directory, manifest, np.load(directory / manifests.ITEM_KEYS))


def _refusal(server: ModelServer, version: str) -> str | None:
    """Ask for a version; return why it was refused, None if it was not."""
    try:
        server.load(version)
    except UserError as error:
        return error.message
    return None


TRIALS = (VersionTrial(),)
