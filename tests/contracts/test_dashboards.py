"""The dashboard and the alerts name only what exists, and are what the code generates."""

import json
import re
import shutil

import pytest
import yaml

from dashboards import build
from dashboards.build import ROWS
from dashboards.panels import Panel
from tests.contracts.promql import TARGET_LABELS, balanced, declared, problems, selectors
from tests.contracts.repository import ROOT, run

PANELS = [panel for row in ROWS for panel in row.panels]
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)"
)


def test_the_committed_dashboard_is_what_the_code_generates() -> None:
    assert build.FILE.read_text() == build.build(), "run: make dashboards"


@pytest.mark.parametrize("panel", PANELS, ids=lambda p: p.title)
def test_a_panel_reads_only_metrics_and_labels_that_exist(panel: Panel) -> None:
    for target in panel.targets:
        assert problems(target.expr) == [], target.expr
        # A dashboard must not depend on how a cluster names its targets.
        labels = {label for s in selectors(target.expr) for label in s.labels}
        assert not labels & TARGET_LABELS
        for label in re.findall(r"{{(\w+)}}", target.legend):
            assert re.search(rf"\b{label}\b", target.expr), f"legend names {label}"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: r["alert"])
def test_an_alert_reads_only_metrics_and_labels_that_exist(rule: dict[str, str]) -> None:
    assert problems(rule["expr"]) == []


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: r["alert"])
def test_an_alert_says_how_urgent_it_is_and_where_its_runbook_is(rule: dict[str, object]) -> None:
    labels, notes = rule["labels"], rule["annotations"]
    assert isinstance(labels, dict)
    assert isinstance(notes, dict)
    assert labels["severity"] in {"page", "ticket"}
    assert notes["summary"]
    assert notes["description"]
    file, _, anchor = notes["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert anchor in {h.strip().lower().replace(" ", "-") for h in headings}


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(t.expr for p in PANELS for t in p.targets)
    missing = [m._name for m in declared().values() if m._name not in shown]
    assert missing == []


def test_latency_is_shown_as_p50_p95_and_p99_by_stage_and_by_source() -> None:
    queries = {target.expr for panel in PANELS for target in panel.targets}
    for histogram, label in (("plait_stage_seconds", "stage"), ("plait_source_seconds", "source")):
        for q in ("0.5", "0.95", "0.99"):
            assert any(
                f"histogram_quantile({q}, " in e
                and f"{histogram}_bucket" in e
                and f"by (le, {label})" in e
                for e in queries
            ), f"{histogram} by {label} at {q}"


def test_panels_fill_whole_lines_and_are_told_apart_by_their_titles() -> None:
    titles = [panel.title for panel in PANELS]
    assert len(set(titles)) == len(titles)
    assert all(len(panel.description) > 20 for panel in PANELS)
    for row in ROWS:
        assert sum(panel.width for panel in row.panels) % 24 == 0, row.title


def test_the_generated_file_asks_the_chosen_data_source_everything() -> None:
    page = json.loads(build.FILE.read_text())
    panels = [p for p in page["panels"] if p["type"] != "row"]
    assert {p["datasource"]["uid"] for p in panels} == {"${datasource}"}
    assert len({p["id"] for p in page["panels"]}) == len(page["panels"])
    assert [v["name"] for v in page["templating"]["list"]] == ["datasource", "source"]
    written = [t["expr"] for p in panels for t in p["targets"]]
    assert written == [t.expr for p in PANELS for t in p.targets]


def test_a_mistake_in_a_query_would_be_noticed() -> None:
    assert problems('rate(plait_nothing_total{source="cf"}[5m])')
    assert problems('rate(plait_source_seconds_count{sauce="cf"}[5m])')
    assert problems("sum by (sauce) (plait_source_seconds_count)")
    assert not balanced('sum(rate(plait_events_total{type="view}[5m]))')
    assert not balanced("sum(rate(plait_events_total[5m))")


@needs_promtool
def test_promtool_accepts_the_scrape_configuration_and_the_rules() -> None:
    for command in (("check", "config", "prometheus/prometheus.yml"),):
        result = run("promtool", *command)
        assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_alerts_fire_when_something_is_broken_and_only_then() -> None:
    result = run("promtool", "test", "rules", "prometheus/alerts_test.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    proven = (ROOT / "prometheus/alerts_test.yml").read_text()
    for rule in ALERTS:
        assert proven.count(f"alertname: {rule['alert']}") >= 2, f"{rule['alert']} is not proven"
