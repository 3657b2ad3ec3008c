"""One trial: a source trained with some settings, and judged as `plait evaluate` would."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cli.evaluation.plan import Model, Plan
from cli.evaluation.ranking import Asked
from cli.evaluation.run import make_job
from cli.evaluation.tables import ask_for, make_table, rank_rows
from cli.evaluation.training import Job, Stages
from models.data.dataset import Dataset
from models.data.errors import DatasetError, OptionError
from models.evaluate.judge import Entry
from models.evaluate.metrics import per_user
from models.evaluate.report import Table
from models.progress import silent
from models.train import unsuited

DEFAULT, BEST = "default", "best"


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Where trials of one source are trained and judged, all by the same users."""

    job: Job
    asked: Asked
    source: str

    @property
    def main(self) -> str:
        """The metric that decides."""
        return self.job.plan.measure().main

    def entry(self, options: Mapping[str, str], stages: Stages) -> Entry:
        """Return the ranking that a source with these settings makes; what is kept is found."""
        plan = replace(self.job.plan, models=(Model(self.source, self.source, options),))
        ranked = rank_rows(replace(self.job, plan=plan, stages=stages), self.asked)
        if why := ranked.skipped.get(self.source):
            raise DatasetError(why)
        if not ranked.entries:
            raise OptionError(f"{self.source} cannot be judged: it answers no histories")
        return ranked.entries[0]

    def value(self, entry: Entry) -> float:
        """Return the mean of the main metric."""
        ks = self.job.plan.ks
        keys = entry.ranked[:, : max(ks)]
        wide = np.pad(keys, ((0, 0), (0, max(ks) - keys.shape[1])))
        return float(per_user(wide, self.asked.task.targets, ks)[self.main].mean())

    def compare(self, entries: Mapping[str, Entry]) -> Table:
        """Return the table of an evaluation, each row under its own name."""
        rows = [replace(entry, name=name) for name, entry in entries.items()]
        return make_table(self.job, self.asked, rows, "What users did next")


def make_bench(
    dataset: Dataset, plan: Plan, source: str, stages: Stages = lambda _: silent
) -> Bench:
    """Cut off the test part and find who is asked; raises SplitError, OptionError."""
    if why := unsuited(source, dataset):
        raise OptionError(f"{source} cannot be trained on {dataset.path}: {why}")
    job = make_job(dataset, plan, stages)
    return Bench(job, ask_for(job, together=plan.protocol == "time-split"), source)
