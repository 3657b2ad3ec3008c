"""What every ablation stands on: the questions, the sources, the fusion, and where parts lie."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from artifacts.fusion import FusionArtifact, FusionSettings
from cli.evaluation.ranking import Answers, Asked, kept
from cli.evaluation.training import Job, Sources
from cli.evaluation.ways import Way
from models.evaluate.metrics import Keys, per_user
from models.evaluate.ranking import Lists
from models.evaluate.task import of_users
from models.evaluate.work import digest
from models.progress import Progress

# Users asked with every setting.
USERS = 2000
# Metrics beside the main one.
_OTHERS = ("recall", "hit")


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """One fusion and what it is asked."""

    job: Job
    asked: Asked
    sources: Sources
    answers: Mapping[str, Answers]  # by label
    artifact: FusionArtifact
    key: str  # tells the artifact from any other

    def first_users(self) -> "Bench":
        """Return the bench with the first users alone."""
        count = min(len(self.asked.task.user_ids), USERS)
        task = of_users(self.asked.task, np.arange(count))
        asked = replace(self.asked, task=task, key={**self.asked.key, "first": count})
        lists = {
            label: replace(a, lists=Lists(a.lists.keys[:count], a.lists.scores[:count]))
            for label, a in self.answers.items()
        }
        return replace(self, asked=asked, answers=lists)

    def lists(self, answers: Mapping[str, Answers]) -> dict[str, Lists]:
        """Return by source what the fusion is given of the answers, by label."""
        depth = self.job.plan.depth
        return {
            name: Lists(found.lists.keys[:, :depth], found.lists.scores[:, :depth])
            for name, source in self.sources.fused().items()
            if (found := answers.get(source.model.label)) is not None
        }

    def metrics(self, ranked: Keys, asked: Asked) -> dict[str, Any]:
        """Return the main metric and some others beside it by user [U]."""
        main = self.job.plan.measure().main
        k = main.rpartition("@")[2]
        values = per_user(ranked, asked.task.targets, self.job.plan.ks)
        return {name: values[name] for name in (main, *(f"{o}@{k}" for o in _OTHERS))}

    def kept(
        self,
        asked: Asked,
        named: tuple[str, Mapping[str, Any]],
        make: Callable[[Progress], Keys],
    ) -> Keys:
        """Return a ranking made before, or make it; `named` as in cli.evaluation.ranking.kept."""

        def lists(progress: Progress) -> Lists:
            ranked = make(progress)
            return Lists(ranked, np.full(ranked.shape, np.nan, np.float32))

        name, key = named
        quantiles = {n: q[1].tolist() for n, q in self.artifact.quantiles.items()}
        whole = {**key, "fusion": self.key, "quantiles": digest(quantiles)}
        return kept(self.job, asked, (name, whole), lists).lists.keys


def way(name: str, change: Callable[[FusionSettings], FusionSettings]) -> Way:
    """Return a way to fuse, most relevant first."""
    return Way(name, "fused", "", change)
