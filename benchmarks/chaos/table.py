"""Findings as a table for people, and as JSON for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from benchmarks.chaos.trial import Check, Finding
from cli.output import console, table


def show(findings: Sequence[Finding], *, bounds: bool) -> None:
    """Print one line for each check, fault by fault."""
    made = table("Fault under load", "Must hold", "Measured", "")
    for finding in findings:
        for number, check in enumerate(finding.checks):
            made.add_row(
                "" if number else finding.fault, check.must, check.measured, _verdict(check, bounds)
            )
    console().print(made)
    failed = [f.name for f in findings if not f.passed(bounds=bounds)]
    console().print(
        f"{len(findings) - len(failed)} of {len(findings)} faults held"
        + (f"; not: {', '.join(failed)}" if failed else ""),
    )


def as_json(findings: Sequence[Finding], *, bounds: bool) -> list[dict[str, Any]]:
    """Return the findings with their verdicts."""
    return [{**asdict(f), "passed": f.passed(bounds=bounds)} for f in findings]


def _verdict(check: Check, bounds: bool) -> Text:
    if check.bound and not bounds:
        return Text("not judged")
    return Text("PASS", style="green") if check.held else Text("FAIL", style="bold red")
