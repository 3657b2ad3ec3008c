"""Writes the Grafana dashboard: `python -m dashboards.build`.

Generated rather than clicked together, so that a renamed metric is found by a
test and a change can be read in review. Import dashboards/plait-latency.json in
Grafana (10.1 or newer) and choose the Prometheus data source at its top.
"""

import string
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.gateway_rows import ANSWERS, LOAD, STAGES
from dashboards.kept_rows import DATA, JOURNAL, STORE, WEIGHTS
from dashboards.panels import Panel, Row, Target
from dashboards.source_rows import INSIDE, REPLICAS, SOURCES

# From what the shopper sees down to its causes.
ROWS: tuple[Row, ...] = (
    ANSWERS, LOAD, STAGES, SOURCES, REPLICAS, INSIDE, DATA, WEIGHTS, STORE, JOURNAL,
)  # fmt: skip
FILE = Path(__file__).parent / "plait-latency.json"
_PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT = 8


def build() -> str:
    """Return the dashboard's JSON, the same text for the same panels."""
    page = (
        dashboard.Dashboard("Plait latency")
        .uid("plait-latency")
        .description("Where the time of a ranking goes, and what to do when it is too much.")
        .tags(["plait", "generated"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .variables([_datasource_variable(), _source_variable()])
    )
    number = 0
    for row in ROWS:
        number += 1
        page = page.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            page = page.with_panel(_panel(panel).id(number))
    return JSONEncoder(sort_keys=True, indent=2).encode(page.build()) + "\n"


def _datasource_variable() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def _source_variable() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("source")
        .label("Source")
        .description("Model services to show")
        .datasource(_PROMETHEUS)
        .query("label_values(plait_source_seconds_count, source)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # The empty value of a metric without the label must match too.
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel:
    drawn = _stat(panel) if panel.stat else _lines(panel)
    for letter, target in zip(string.ascii_uppercase, panel.targets, strict=False):
        drawn = drawn.with_target(_query(letter, target, instant=panel.stat))
    return (
        drawn.title(panel.title)
        .description(panel.description)
        .datasource(_PROMETHEUS)
        .unit(panel.unit)
        .span(panel.width)
        .height(_HEIGHT)
        .no_value("none yet")
    )


def _query(letter: str, target: Target, *, instant: bool) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(target.expr).legend_format(target.legend).ref_id(letter)
    return query.instant() if instant else query.range()


def _lines(panel: Panel) -> timeseries.Panel:
    return (
        timeseries.Panel()
        .min(0)
        .line_width(1)
        .fill_opacity(5 if len(panel.targets) == 1 else 0)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
    )


def _stat(panel: Panel) -> stat.Panel:
    steps = [Threshold(value=None, color="green")]
    if panel.bad_from is not None:
        steps.append(Threshold(value=panel.bad_from, color="red"))
    return (
        stat.Panel()
        .graph_mode(BigValueGraphMode.AREA if len(panel.targets) == 1 else BigValueGraphMode.NONE)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    )


def main() -> None:
    """Write the dashboard beside this file."""
    FILE.write_text(build())


if __name__ == "__main__":
    main()
