"""The ablations that were asked for."""

from collections.abc import Callable, Mapping

from cli.evaluation.ablation.bench import Bench
from cli.evaluation.ablation.history import history_ablation
from cli.evaluation.ablation.live import live_ablations
from cli.evaluation.ablation.utility import utility_ablation
from models.data.errors import SplitError
from models.evaluate.report import Ablation

_KINDS: Mapping[str, Callable[[Bench], tuple[Ablation, ...]]] = {
    "live": live_ablations,
    "history": history_ablation,
    "utility": utility_ablation,
}


def ablations(bench: Bench) -> tuple[tuple[Ablation, ...], dict[str, str]]:
    """Run what the plan names, in its order; also say what the data cannot tell, and why."""
    found: list[Ablation] = []
    skipped = {}
    for kind in bench.job.plan.ablate:
        try:
            found += _KINDS[kind](bench)
        except SplitError as error:
            skipped[f"--ablate {kind}"] = str(error)
    return tuple(found), skipped
