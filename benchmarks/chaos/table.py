"""Findings as a table for people, and as JSON for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.chaos.trial import Check, Finding
from cli.output import console, table


def show(findings: Sequence[Finding], *, timed: bool) -> None:
    """Print one line for each check, fault by fault."""
    made = table("Fault under load", "Must hold", "Measured", "")
    for finding in findings:
        for number, check in enumerate(finding.checks):
            made.add_row(
                "" if number else finding.fault, check.must, check.measured, _verdict(check, timed)
            )
    console().print(made)
    failed = [f.name for f in findings if not f.passed(timed=timed)]
    console().print(
        f"{len(findings) - len(failed)} of {len(findings)} faults held"
        + (f"; not: {', '.join(failed)}" if failed else ""),
        markup=False,
    )


def as_json(findings: Sequence[Finding], *, timed: bool) -> list[dict[str, Any]]:
    """Return the findings with their verdicts."""
    return [{**asdict(f), "passed": f.passed(timed=timed)} for f in findings]


def _verdict(check: Check, timed: bool) -> str:
    if check.timed and not timed:
        return "not judged"
    return "[green]PASS[/green]" if check.held else "[bold red]FAIL[/bold red]"
