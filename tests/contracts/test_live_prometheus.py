"""Every query of the dashboard, asked of a real Prometheus that scrapes real metrics.

The values are known (record_metrics.py), so this also proves that the queries
compute what their panels say. tests/e2e asks the same of the running system.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import yaml

from dashboards.build import ROWS
from dashboards.panels import Panel
from tests.contracts.manifests import workloads
from tests.contracts.promql import exposed
from tests.contracts.repository import ROOT
from tests.contracts.roles import ROLES
from tests.support.prometheus import (
    Prometheus,
    as_asked,
    needs_prometheus,
    prometheus,
    scrape_config,
)

pytestmark = needs_prometheus
PANELS = {panel.title: panel for row in ROWS for panel in row.panels}
# Nothing listens here: the discard port, which no unprivileged process can take.
NOBODY = "127.0.0.1:9"


@contextmanager
def recording(role: str) -> Iterator[str]:
    """Run a recorder; yield the address of its metrics."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contracts.record_metrics", role],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
        process.communicate()


def kubernetes_job(gateway: str, cf: str) -> dict[str, Any]:
    """The cluster's scrape job, told of our pods as the API server would tell it."""
    text = (ROOT / "prometheus/kubernetes.yml").read_text()
    (job,) = yaml.safe_load(text)["scrape_configs"]
    del job["kubernetes_sd_configs"]  # Debian's build knows no Kubernetes
    addresses = {"gateway": gateway, "cf": cf}
    job["static_configs"] = []
    for workload in workloads("k8s/base"):
        notes = workload.pod["metadata"]["annotations"]
        labels = workload.pod["metadata"]["labels"]
        meta = {f"pod_annotation_{k}": v for k, v in notes.items()}
        meta |= {f"pod_label_{k}": v for k, v in labels.items()}
        meta |= {"namespace": "plait", "pod_name": f"plait-{workload.role}-0"}
        for name in workload.ports:
            address = addresses.get(workload.role, NOBODY) if name == "metrics" else NOBODY
            here = meta | {"pod_container_port_name": name, "pod_phase": "Running"}
            job["static_configs"].append({
                "targets": [address],
                "labels": {
                    f"__meta_kubernetes_{k.translate(str.maketrans('./-', '___'))}": v
                    for k, v in here.items()
                },
            })  # fmt: skip
    # Discovered and scraped, but no number is counted a second time.
    drop = {"source_labels": ["__name__"], "regex": ".*", "action": "drop"}
    job |= {"job_name": "kubernetes", "metric_relabel_configs": [drop]}
    return dict(job)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with ExitStack() as stack:
        gateway = stack.enter_context(recording("gateway"))
        cf = stack.enter_context(recording("cf"))
        targets = dict.fromkeys(ROLES, NOBODY) | {"gateway": gateway, "cf": cf}
        config = scrape_config(ROOT, targets)
        config["scrape_configs"].append(kubernetes_job(gateway, cf))
        server = stack.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), config))
        # Rates need two scrapes of each process.
        for name in ("plait_recommend_seconds_count", "plait_inference_seconds_count"):
            assert server.wait_for(f"rate({name}[20s]) > 0")
        yield server


@pytest.mark.parametrize("title", PANELS)
def test_every_query_of_a_panel_finds_numbers(live: Prometheus, title: str) -> None:
    panel: Panel = PANELS[title]
    for target in panel.targets:
        asked = as_asked(target.expr, "20s")
        assert live.wait_for(asked), asked


@pytest.mark.parametrize("name", sorted(set(exposed()) - {"up"}))
def test_every_metric_is_recorded_and_has_the_labels_we_think_it_has(
    live: Prometheus, name: str
) -> None:
    found = live.query(name)
    assert found
    own = {"__name__", "job", "instance", "process"}
    assert set(found[0][0]) - own == exposed()[name]


def value(live: Prometheus, title: str, target: int = 0) -> dict[str, float]:
    return live.finite(as_asked(PANELS[title].targets[target].expr, "20s"))


def test_the_numbers_are_those_that_were_recorded(live: Prometheus) -> None:
    assert value(live, "Partial answers")[""] == pytest.approx(0.1)
    assert value(live, "Share of calls refused")[""] == pytest.approx(0.5)
    assert value(live, "Quality factor")[""] == pytest.approx(0.6)
    assert value(live, "No source at all")[""] == pytest.approx(0.02)
    # Within the bucket that holds 50 ms.
    assert 0.025 < value(live, "Time of a ranking", 2)[""] <= 0.05
    assert 0.016 < value(live, "Time per source, p99")["cf"] <= 0.025
    assert 0.016 < value(live, "Time per source, p50")["cf"] <= 0.025
    assert value(live, "Mean time per stage")["fan_out"] == pytest.approx(0.02)
    assert value(live, "Mean time per stage")["calibrate"] == pytest.approx(0.00005)
    assert 0.0015 < value(live, "Time the model computes, p50")["cf"] <= 0.002
    assert value(live, "Rows in a batch")["cf"] == pytest.approx(4)
    assert value(live, "Items in the catalogue")[""] == 20_000
    calls = value(live, "Calls by outcome")
    late, ok = calls["late text"], calls["ok text"]
    assert late / (late + ok) == pytest.approx(0.1)


def test_the_source_chosen_at_the_top_is_the_only_one_shown(live: Prometheus) -> None:
    expression = PANELS["Time per source, p99"].targets[0].expr
    chosen = expression.replace("$__rate_interval", "20s").replace("$source", "text")
    assert set(live.finite(chosen)) == {"text"}


def test_a_process_that_is_down_is_noticed(live: Prometheus) -> None:
    down = {labels["process"] for labels, up in live.query('up{job="plait"}') if not up}
    assert down == {"content", "sequence", "text"}
    # Each process is scraped at its own moment: the first evaluation may know of one alone.
    assert live.wait_for(f'count(ALERTS{{alertname="PlaitSourceDown"}}) == {len(down)}')
    waiting = live.query('ALERTS{alertname="PlaitSourceDown"}')
    assert {labels["process"] for labels, _ in waiting} == down


def test_prometheus_can_evaluate_every_alert(live: Prometheus) -> None:
    rules = [r for g in live.get("/api/v1/rules")["groups"] for r in g["rules"]]
    assert {rule["name"] for rule in rules} >= {"PlaitSlow", "PlaitPartialAnswers"}
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []


def test_in_a_cluster_each_pod_is_scraped_once_and_named(live: Prometheus) -> None:
    targets = live.get("/api/v1/targets", state="active")["activeTargets"]
    found = [t["labels"] for t in targets if t["labels"]["job"] == "kubernetes"]
    assert sorted(labels["process"] for labels in found) == sorted(ROLES)
    for labels in found:
        assert labels["namespace"] == "plait"
        assert labels["pod"] == f"plait-{labels['process']}-0"
