"""The whole of a search: trials until there are enough, then the best beside the default."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.disk import naming
from artifacts.errors import NoRoom
from cli.evaluation.plan import Plan
from cli.evaluation.training import Stages
from cli.machine import describe
from cli.tuning.report import Tuned
from cli.tuning.space import read_space
from cli.tuning.study import Study, Trial
from cli.tuning.trials import BEST, DEFAULT, Bench, make_bench
from models.data.dataset import Dataset
from models.data.errors import OptionError
from models.evaluate.work import code_of, digest
from models.export import config_json
from models.progress import Progress, silent
from models.space import Between, Space
from models.train import config_of


@dataclass(frozen=True, slots=True)
class Search:
    """What to search, and for how long."""

    plan: Plan  # of the evaluation that judges; its models are left open
    source: str
    fixed: Mapping[str, str]  # settings of all trials
    searched: tuple[str, ...] = ()  # texts of --search; none: what the source declares
    trials: int = 30  # in all, those of earlier runs included
    minutes: float | None = None  # of this run; no trial begins after them
    file: Path | None = None  # of the study; None: among the parts of the work


def tune(dataset: Dataset, search: Search, stages: Stages = lambda _: silent) -> Tuned:
    """Search; raises DataError and ArtifactError with messages for people.

    A trial that fails is noted and passed over; OptionError if none succeeds. OSError and NoRoom
    end the search, which goes on with that trial later.
    """
    config = config_of(search.source, search.plan.preset, search.plan.seed, search.fixed)
    timed = dataset.info.times == "time"
    space = read_space(search.source, config, search.searched, search.fixed, timed=timed)
    bench = make_bench(dataset, search.plan, search.source, stages)
    file, name = _place(bench, search, config_json(config), space)
    show = Shown(stages(f"tune {search.source}"), search.trials, bench.main)
    first = bench.entry(search.fixed, show.step(0, "the default"))
    show.default = bench.value(first)
    with naming(file):
        study = Study(file, name, space, config, fresh=search.plan.fresh)
        run_trials(bench, study, search, show)
    trials = tuple(study.trials())
    best = best_of(trials)
    settings = {**search.fixed, **best.settings}
    last = bench.entry(settings, show.step(search.trials, "the best"))
    return Tuned(
        dataset=dataset.info.name,
        source=search.source,
        preset=search.plan.preset,
        seed=search.plan.seed,
        protocol=search.plan.protocol,
        split=bench.job.parts.note,
        main=bench.main,
        fixed=search.fixed,
        searched={field: in_words(s) for field, s in space.items()},
        trials=trials,
        best=best,
        table=bench.compare({DEFAULT: first, BEST: last}),
        study=str(file),
        machine=describe(),
    )


def run_trials(bench: Bench, study: Study, search: Search, show: "Shown") -> None:
    """Try until there are enough concluded trials, or the time is up."""
    began = time.monotonic()
    while len(done := study.trials()) < search.trials:
        show.best = max((t.value for t in done if t.value is not None), default=None)
        if search.minutes is not None and time.monotonic() - began >= 60 * search.minutes:
            return
        attempt = study.ask(search.plan.seed)
        at = time.monotonic()
        stages = show.step(len(done), " ".join(f"{k}={v}" for k, v in attempt.settings.items()))
        try:
            value = bench.value(bench.entry({**search.fixed, **attempt.settings}, stages))
        except (OSError, NoRoom):
            raise  # the machine's failure, a full disk mostly, says nothing of the settings
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            study.tell(attempt, None, seconds=time.monotonic() - at, why=why)
        else:
            study.tell(attempt, value, seconds=time.monotonic() - at)


def best_of(trials: tuple[Trial, ...]) -> Trial:
    """Return the trial of the greatest value, the earliest of equals. Raises OptionError."""
    good = [(trial.value, -trial.number, trial) for trial in trials if trial.value is not None]
    if not good:
        why = f"; the last: {trials[-1].why}" if trials else ": give it more --minutes"
        raise OptionError(f"no trial succeeded{why}")
    return max(good)[2]


def in_words(space: Space) -> str:
    """Return a space as `--search` reads it."""
    if isinstance(space, Between):
        return f"{space.low:g}..{space.high:g}{':log' if space.log else ''}"
    return ",".join(space.values)


class Shown:
    """One line of progress for the whole search."""

    def __init__(self, report: Progress, trials: int, main: str) -> None:
        self._report, self._trials, self._main = report, trials, main
        self.default: float | None = None
        self.best: float | None = None

    def step(self, number: int, what: str) -> Stages:
        """Return stages that map onto trial `number` (from 0) of all."""

        def stage(name: str) -> Progress:
            def report(done: int, total: int, text: str) -> None:  # noqa: ARG001
                share = min(done / total, 1.0) if total else 0.0
                at = round(1000 * (min(number, self._trials - 1) + share))
                self._report(at, 1000 * self._trials, f"{self._so_far(number)}, {name}: {what}")

            report(0, 0, "")
            return report

        return stage

    def _so_far(self, number: int) -> str:
        at = f"trial {min(number + 1, self._trials)} of {self._trials}"
        known = (("best", self.best), ("default", self.default))
        return ", ".join([at, *(f"{n} {v:.4f}" for n, v in known if v is not None)])


def _place(
    bench: Bench, search: Search, config: Mapping[str, Any], space: Mapping[str, Space]
) -> tuple[Path, str]:
    """Return the study's file and its name: a hash of all that makes trials comparable."""
    key = {
        "asked": bench.asked.key,
        "source": search.source,
        "config": config,
        "space": {name: in_words(s) for name, s in space.items()},
        "main": bench.main,
        "code": code_of(f"models.{search.source}.train", "models.evaluate.ranking"),
    }
    kept = search.file or bench.job.work.part("study", key) / "trials.journal"
    return kept, digest(key)
