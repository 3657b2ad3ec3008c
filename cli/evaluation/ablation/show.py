"""Ablations as tables for people: on the terminal, and on the page."""

from collections.abc import Mapping
from html import escape
from typing import Any

from rich.table import Table as RichTable

from cli.evaluation.figures import short
from cli.output import table
from models.evaluate.report import Ablation

Json = Mapping[str, Any]
_MONEY = ("price", "hit price", "revenue")


def ablation_table(found: Ablation) -> RichTable:
    """Return every metric of every setting, and how the first metric differs."""
    names = list(found.settings[0].metrics)
    # Heads and intervals stand on two lines, so that settings have room for their names.
    heads = (f">{name}".replace(" ", "\n") for name in names)
    made = table("", *heads, ">difference", ">95 %")
    for setting in found.settings:
        values = (_figure(name, setting.metrics[name]) for name in names)
        made.add_row(setting.name, *values, *_gap(setting.differences.get(names[0])))
    return made


def ablation_html(found: Json) -> str:
    """Return the same, every cell with its difference and interval on hover."""
    names = list(found["settings"][0]["metrics"])
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = ""
    for setting in found["settings"]:
        cells = "".join(_cell(setting, name) for name in names)
        body += f"<tr><td>{escape(setting['name'])}</td>{cells}</tr>"
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(setting: Json, name: str) -> str:
    low, high = setting["intervals"][name]
    title = f"{low:.4f} to {high:.4f}"
    sure = ""
    if (gap := setting["differences"].get(name)) is not None:
        title += f"; difference {gap[0]:+.4f}, {gap[1]:+.4f} to {gap[2]:+.4f}"
        # What chance may have made is small print.
        if gap[1] > 0 or gap[2] < 0:
            sure = f"<small>{gap[0]:+.4f}</small>"
    return f'<td title="{title}">{_figure(name, setting["metrics"][name])}{sure}</td>'


def _figure(name: str, value: float) -> str:
    return f"{value:.2f}" if name in _MONEY else short(value)


def _gap(gap: tuple[float, float, float] | None) -> tuple[str, str]:
    if gap is None:
        return "", ""
    return f"{gap[0]:+.4f}", f"{gap[1]:+.4f} to\n{gap[2]:+.4f}"
