"""The ablations that were asked for."""

from collections.abc import Callable, Mapping

from cli.evaluation.ablation.bench import Bench
from cli.evaluation.ablation.history import history_ablation
from cli.evaluation.ablation.live import live_ablations
from cli.evaluation.ablation.utility import utility_ablation
from models.evaluate.report import Ablation

_KINDS: Mapping[str, Callable[[Bench], tuple[Ablation, ...]]] = {
    "live": live_ablations,
    "history": history_ablation,
    "utility": utility_ablation,
}


def ablations(bench: Bench) -> tuple[Ablation, ...]:
    """Run what the plan names, in its order; raises SplitError where the data cannot tell."""
    return tuple(found for kind in bench.job.plan.ablate for found in _KINDS[kind](bench))
