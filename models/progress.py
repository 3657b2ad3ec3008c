"""How long work tells whoever waits for it how far it is.

Library code never prints: it calls a `Progress`, and the command line, a test
or a log decides what becomes of that.
"""

from typing import Protocol


class Progress(Protocol):
    """Told now and then how far the work is."""

    def __call__(self, done: int, total: int, text: str) -> None:
        """`done` of `total` steps (total 0: unknown) and, in a few words, which step this is."""
        ...


def silent(done: int, total: int, text: str) -> None:
    """Take progress and say nothing."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Map a step's own 0..total onto the share start..stop (0..1) of a longer work.

    The longer work then reports in thousandths.
    """

    def report(done: int, total: int, text: str) -> None:
        share = done / total if total > 0 else 0.0
        progress(round(1000 * (start + (stop - start) * min(share, 1.0))), 1000, text)

    return report
