"""The manifests build offline, fit Kubernetes' schemas, and fit the code they run."""

import os
import re
from copy import deepcopy
from ipaddress import ip_address, ip_network
from pathlib import Path, PurePath
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.runtime import config as configuration
from services.runtime.health import LIVE
from tests.contracts import dockerfile
from tests.contracts.manifests import (
    COMPONENT,
    TARGETS,
    Workload,
    build,
    everything,
    matches,
    of_kind,
    workloads,
)
from tests.contracts.repository import ROOT
from tests.contracts.roles import ROLES, SOURCES

# The oldest and the newest release these are meant for.
KUBERNETES = ("1.34.0", "1.37.0")
# How long a cluster's DNS lets its answers be kept, as kubeadm sets it up.
DNS_SECONDS = 30
WORKLOADS = [pytest.param(w, id=f"{t}:{w.role}") for t in TARGETS for w in workloads(t)]
each_workload = pytest.mark.parametrize("workload", WORKLOADS)
each_target = pytest.mark.parametrize("target", TARGETS)


@pytest.mark.parametrize("version", KUBERNETES)
@each_target
def test_every_object_fits_the_schema(target: str, version: str) -> None:
    for thing in build(target):
        kubernetes_validate.validate(thing, version, strict=True)


@each_target
def test_every_role_runs_once_each_from_a_file_of_its_own(target: str) -> None:
    assert sorted(w.role for w in workloads(target)) == sorted(ROLES)
    for role in ROLES:
        (first, *_) = yaml.safe_load_all((ROOT / f"k8s/base/{role}.yaml").read_text())
        assert first["metadata"]["name"] == f"plait-{role}"


@each_workload
def test_ports_are_those_of_the_code(workload: Workload) -> None:
    config = load(workload)
    assert workload.ports == {"grpc": config.port, "metrics": config.metrics_port}
    assert config.host == "0.0.0.0"
    assert workload.pod["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(config.metrics_port),
        "prometheus.io/path": "/metrics",
    }


def load(workload: Workload) -> Any:
    """What the process would be configured with; unknown or bad settings raise."""
    environment = dockerfile.settings(workload.role) | workload.environment
    return configuration.load(ROLES[workload.role].config_class, workload.role, environment)


@each_workload
def test_only_the_manifest_decides_which_version_serves(workload: Workload) -> None:
    if workload.role in SOURCES:
        assert load(workload).model_control is False


@pytest.mark.parametrize("workload", workloads("k8s/base"), ids=lambda w: w.role)
def test_the_base_names_the_version_to_serve(workload: Workload) -> None:
    assert load(workload).version == 1


@each_workload
def test_volumes_hold_what_the_process_reads_and_writes(workload: Workload) -> None:
    config = load(workload)
    mounts = {m["mountPath"]: m for m in workload.container["volumeMounts"]}
    assert mounts[str(config.repository)]["readOnly"] is True
    assert "readOnly" not in mounts["/tmp"]
    if workload.role == "gateway":
        for path in (config.state, config.exposure_log):
            assert "readOnly" not in mounts[str(path.parent)]
    volumes = {v["name"] for v in workload.pod["spec"]["volumes"]}
    volumes |= {
        c["metadata"]["name"] for c in workload.whole["spec"].get("volumeClaimTemplates", [])
    }
    assert {m["name"] for m in mounts.values()} == volumes


@each_target
def test_what_the_gateway_compiles_outlives_its_pod(target: str) -> None:
    """Compiling takes 20 s of CPU, in which a rollout has no gateway."""
    (gateway,) = [w for w in workloads(target) if w.role == "gateway"]
    lasting = {c["metadata"]["name"] for c in gateway.whole["spec"]["volumeClaimTemplates"]}
    mounts = gateway.container["volumeMounts"]
    (place,) = [m["mountPath"] for m in mounts if m["name"] in lasting]
    assert PurePath(gateway.environment["NUMBA_CACHE_DIR"]).parent == PurePath(place)


@each_target
def test_claims_that_pods_mount_exist(target: str) -> None:
    claims = {o["metadata"]["name"] for o in of_kind(target, "PersistentVolumeClaim")}
    for workload in workloads(target):
        for volume in workload.pod["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims


@each_workload
def test_probes_ask_the_grpc_port_for_what_health_reports(workload: Workload) -> None:
    kinds = ("startup", "readiness", "liveness")
    probes = {kind: workload.container[f"{kind}Probe"]["grpc"] for kind in kinds}
    assert {probe["port"] for probe in probes.values()} == {workload.ports["grpc"]}
    # Ready: its own model, or for the gateway the process.
    model = workload.role if workload.role in SOURCES else ""
    assert probes["readiness"]["service"] == model
    # What the gateway does before it is ready may take as long as it likes: it repairs its file.
    assert probes["startup"]["service"] == (model or LIVE)
    # A process that drains or had a model unloaded loses its calls, not its life.
    assert probes["liveness"]["service"] == LIVE


@each_workload
def test_there_is_time_to_drain_before_the_pod_is_killed(workload: Workload) -> None:
    config = load(workload)
    # Readiness must go down and reach the callers while the server still answers.
    probe = workload.container["readinessProbe"]
    assert config.drain_seconds >= probe["periodSeconds"] * probe["failureThreshold"]
    grace = getattr(config, "grace_seconds", 0)
    whole = workload.pod["spec"]["terminationGracePeriodSeconds"]
    assert whole >= config.drain_seconds + grace + 5


@each_workload
def test_a_pod_may_do_nothing_it_need_not(workload: Workload) -> None:
    spec = workload.pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert workload.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    image_user = next(
        u for s in dockerfile.ancestry(workload.role) for u in s.values("USER")
    ).split(":")
    context = spec["securityContext"]
    assert image_user == [str(context["runAsUser"]), str(context["runAsGroup"])]


@each_workload
def test_kubernetes_adds_no_variables_that_look_like_settings(workload: Workload) -> None:
    assert workload.pod["spec"]["enableServiceLinks"] is False


@each_workload
def test_resources_are_requested_and_limited(workload: Workload) -> None:
    resources = workload.container["resources"]
    for part in ("requests", "limits"):
        assert set(resources[part]) == {"cpu", "memory"}


@each_workload
def test_an_image_has_a_tag_that_stays_what_it_is(workload: Workload) -> None:
    name, _, tag = workload.container["image"].partition(":")
    assert name == f"plait-{workload.role}"
    assert tag not in {"", "latest"}
    assert workload.container["imagePullPolicy"] == "IfNotPresent"
    assert name.removeprefix("plait-") in dockerfile.stages()


@each_workload
def test_a_rollout_never_leaves_fewer_pods_than_wanted(workload: Workload) -> None:
    spec = workload.whole["spec"]
    if workload.role == "gateway":
        # Its state file has one owner; one that is alone leaves none meanwhile.
        assert workload.whole["kind"] == "StatefulSet"
        assert spec["replicas"] == 1 or load(workload).journal.text
    else:
        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert spec["strategy"]["rollingUpdate"]["maxSurge"] >= 1


@each_target
def test_the_gateway_hears_of_a_new_pod_before_the_old_ones_are_gone(target: str) -> None:
    """It looks names up; a caching DNS may tell it of the pods of half a minute ago."""
    (gateway,) = [w for w in workloads(target) if w.role == "gateway"]
    kept = DNS_SECONDS + load(gateway).look_up_ms / 1000
    for workload in workloads(target):
        if workload.role in SOURCES:
            overlap = workload.whole["spec"]["minReadySeconds"] + load(workload).drain_seconds
            assert overlap >= kept, workload.role


@each_target
def test_a_gateway_that_never_gets_ready_is_replaced_by_the_rollout_that_mends_it(
    target: str,
) -> None:
    """With OrderedReady, Kubernetes waits for the broken pod for good."""
    (gateway,) = [w for w in workloads(target) if w.role == "gateway"]
    assert gateway.whole["spec"]["podManagementPolicy"] == "Parallel"


@each_target
def test_selectors_choose_the_pods_they_mean(target: str) -> None:
    pods = {w.role: w.pod["metadata"]["labels"] for w in everything(target)}
    for workload in everything(target):
        selector = workload.whole["spec"]["selector"]["matchLabels"]
        assert [r for r, labels in pods.items() if matches(selector, labels)] == [workload.role]
    for thing in of_kind(target, "Service", "PodDisruptionBudget"):
        selector = thing["spec"]["selector"]
        selector = selector.get("matchLabels", selector)
        chosen = [role for role, labels in pods.items() if matches(selector, labels)]
        assert chosen == [thing["metadata"]["labels"][COMPONENT]]


@each_target
def test_services_lead_to_ports_that_pods_open(target: str) -> None:
    pods = {w.role: w for w in everything(target)}
    for service in of_kind(target, "Service"):
        workload = pods[service["metadata"]["labels"][COMPONENT]]
        for port in service["spec"]["ports"]:
            assert port["port"] == workload.ports[port["targetPort"]]
        if workload.role in SOURCES:
            assert service["spec"]["clusterIP"] == "None"


@each_target
def test_the_gateway_asks_sources_that_are_there(target: str) -> None:
    (gateway,) = [w for w in workloads(target) if w.role == "gateway"]
    services = {
        f"{s['metadata']['name']}:{p['port']}": s["metadata"]["labels"][COMPONENT]
        for s in of_kind(target, "Service")
        for p in s["spec"]["ports"]
    }
    addresses = load(gateway).addresses()
    assert {name: services[address] for name, address in addresses.items()} == {
        s: s for s in SOURCES
    }


@each_target
def test_only_the_gateway_reaches_the_models(target: str) -> None:
    policies = {o["metadata"]["name"]: o["spec"] for o in of_kind(target, "NetworkPolicy")}
    sources = policies["plait-sources"]
    (chosen,) = sources["podSelector"]["matchExpressions"]
    assert sorted(chosen["values"]) == sorted(SOURCES)
    assert sources["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in sources
    (callers, _) = sources["ingress"]
    assert callers["from"][0]["podSelector"]["matchLabels"][COMPONENT] == "gateway"


@each_target
def test_the_gateway_may_ask_the_clusters_dns_and_the_nodes(target: str) -> None:
    """NodeLocal DNSCache runs on the node's network: no policy's labels find it."""
    policies = {o["metadata"]["name"]: o["spec"] for o in of_kind(target, "NetworkPolicy")}
    rules = policies["plait-gateway"]["egress"]
    (names,) = [r for r in rules if {p["port"] for p in r["ports"]} == {53}]
    assert {p["protocol"] for p in names["ports"]} == {"UDP", "TCP"}
    blocks = [ip_network(to["ipBlock"]["cidr"]) for to in names["to"] if "ipBlock" in to]
    assert any(ip_address("169.254.20.10") in block for block in blocks)
    assert all(block.is_link_local for block in blocks)
    spaces = [to["namespaceSelector"]["matchLabels"] for to in names["to"] if "ipBlock" not in to]
    assert spaces == [{"kubernetes.io/metadata.name": "kube-system"}]


def test_the_overlay_only_patches_the_base() -> None:
    overlay = yaml.safe_load((ROOT / "k8s/overlays/local/kustomization.yaml").read_text())
    assert overlay["resources"] == ["../../base"]
    # On one node, two gateways would fall together.
    assert "components" not in overlay
    base, local = (
        {(o["kind"], o["metadata"]["name"]) for o in build(target)}
        for target in ("k8s/base", "k8s/overlays/local")
    )
    assert local <= base


def test_an_encoder_of_many_languages_gets_memory_and_nothing_else(tmp_path: Path) -> None:
    there = os.path.relpath(ROOT / "k8s", tmp_path.resolve())
    overlay = {"resources": [f"{there}/base"], "components": [f"{there}/components/multilingual"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    changed = set()
    for was, now in zip(build("k8s/base"), build(str(tmp_path)), strict=True):
        if was != now:
            changed.add(now["metadata"]["name"])
            was, now = deepcopy((was, now))  # noqa: PLW2901 -- what was built is kept
            (old,), (new,) = (o["spec"]["template"]["spec"]["containers"] for o in (was, now))
            more = new["resources"].pop("limits")
            assert more.pop("memory") in {"1536Mi", "2Gi"}
            assert more["cpu"] == old["resources"].pop("limits")["cpu"]
            del old["resources"]["requests"]["memory"], new["resources"]["requests"]["memory"]
            assert was == now
    assert changed == {"plait-content", "plait-text"}


def test_the_four_sources_differ_only_where_they_must() -> None:
    texts = []
    for source in SOURCES:
        text = (ROOT / f"k8s/base/{source}.yaml").read_text()
        text = re.sub(r"\A# .*\n", "", text)
        text = re.sub(rf"\b{source}\b|\b{source.upper()}(?=_)|_{source.upper()}_", "NAME", text)
        text = re.sub(r"\b(5005\d|915\d)\b", "PORT", text)
        texts.append(re.sub(r"\{cpu: .*\}", "{}", text))
    assert len(set(texts)) == 1, "a change to one manifest is missing in another"


def test_the_static_scrape_configuration_names_the_default_ports() -> None:
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    found = {c["labels"]["process"]: c["targets"] for c in job["static_configs"]}
    assert found == {r.name: [f"127.0.0.1:{r.ports[1]}"] for r in ROLES.values()}


@pytest.mark.parametrize("name", ["models", "state"])
def test_a_tool_pod_is_as_harmless_as_the_others_and_mounts_what_exists(name: str) -> None:
    pod = yaml.safe_load((ROOT / f"k8s/tools/{name}.yaml").read_text())
    for version in KUBERNETES:
        kubernetes_validate.validate(pod, version, strict=True)
    spec = pod["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["image"] in {w.container["image"] for w in workloads("k8s/base")}
    claims = {o["metadata"]["name"] for o in of_kind("k8s/base", "PersistentVolumeClaim")}
    for stateful in of_kind("k8s/base", "StatefulSet"):
        for template in stateful["spec"]["volumeClaimTemplates"]:
            claims.add(f"{template['metadata']['name']}-{stateful['metadata']['name']}-0")
    assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] in claims
    # Nothing may route calls to it.
    selectors = [s["spec"]["selector"] for s in of_kind("k8s/base", "Service")]
    assert not any(matches(s, pod["metadata"]["labels"]) for s in selectors)


def blocks() -> list[list[str]]:
    """The commands of the runbook, block by block, a line each."""
    text = (ROOT / "docs/operations.md").read_text()
    return [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)]


@pytest.mark.parametrize("name", ["models", "state"])
def test_the_runbook_waits_for_a_tool_pod_before_it_uses_it(name: str) -> None:
    """`kubectl apply` returns before the pod runs: what follows at once would fail."""
    made, pod = f"kubectl apply -f k8s/tools/{name}.yaml", f"plait-{name}"
    (block,) = [block for block in blocks() if made in block]
    asked = [line for line in block if re.search(rf" (exec|cp) .*{pod}\b", line)]
    (waits,) = [line for line in block if f"wait --for=condition=Ready pod/{pod} " in line]
    assert asked
    assert block.index(made) < block.index(waits) < min(map(block.index, asked))


def test_the_runbook_lets_the_gateway_end_before_its_file_is_replaced() -> None:
    (block,) = [block for block in blocks() if any("--replicas=0" in line for line in block)]
    (stop,) = [n for n, line in enumerate(block) if "--replicas=0" in line]
    (gone,) = [n for n, line in enumerate(block) if "--for=delete pod/plait-gateway-0" in line]
    (removed,) = [n for n, line in enumerate(block) if "rm -f state.sqlite" in line]
    assert stop < gone < removed


def test_the_runbook_rolls_the_services_out_before_the_gateway() -> None:
    """One `kubectl apply -k` would change all at once."""
    (block,) = [b for b in blocks() if any("apply -k" in line for line in b)]
    first, second = [n for n, line in enumerate(block) if "apply -k" in line]
    (chosen,) = re.findall(rf" -l '{re.escape(COMPONENT)} in \((.*)\)'", block[first])
    assert chosen.split(",") == list(SOURCES)
    (waits,) = [n for n, line in enumerate(block) if "rollout status" in line]
    assert first < waits < second
    assert " -l " not in block[second]


@each_target
def test_the_runbook_sets_what_a_service_starts_with(target: str) -> None:
    """A canary is set up and taken back where the version is pinned, and where it is not."""
    text = (ROOT / "docs/operations.md").read_text()
    commands = re.findall(r"set env deployment/plait-cf ([^#\n]*)", text)
    assert [c for c in commands if "PLAIT_CF_BESIDE=2" in c]
    (cf,) = [w for w in workloads(target) if w.role == "cf"]
    environment = dockerfile.settings("cf") | cf.environment
    for command in commands:
        for change in command.split():
            name, given, value = change.partition("=")
            if given:
                environment[name] = value
            else:  # NAME- takes it away
                environment.pop(name.rstrip("-"), None)
        configuration.load(ROLES["cf"].config_class, "cf", environment)


def test_the_runbook_asks_for_whole_logs() -> None:
    """Of pods chosen by a label kubectl shows ten lines each, however long `--since` is."""
    text = (ROOT / "docs/operations.md").read_text()
    asked = re.findall(r"kubectl [^`\n]*\blogs -l [^`\n]*", text)
    assert asked
    assert all("--tail=-1" in command for command in asked)


def test_no_deletion_shares_its_file_with_other_patches() -> None:
    # kubectl 1.32 (kustomize 5.5) crashes on it; newer ones do not.
    for path in (ROOT / "k8s").rglob("*.yaml"):
        patches = list(yaml.safe_load_all(path.read_text()))
        deletions = [p for p in patches if isinstance(p, dict) and p.get("$patch") == "delete"]
        assert not deletions or len(patches) == 1, path
