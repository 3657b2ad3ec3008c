"""The fusion with every subset of its sources: what is left when some do not answer."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from artifacts.fusion import FusionArtifact
from cli.evaluation.ranking import Answers, Asked, Together
from cli.evaluation.training import Job, Sources
from cli.evaluation.ways import WAYS
from models.evaluate.metrics import per_user
from models.evaluate.report import Subset
from models.evaluate.task import of_users

# Users asked with every subset; the ways compared.
_USERS = 2000
_WAYS = tuple(way for way in WAYS if way.name in {"convex", "fused"})


def subsets(
    job: Job,
    asked: Asked,
    sources: Sources,
    answers: Mapping[str, Answers],
    tuned: tuple[FusionArtifact, str],
) -> tuple[Subset, ...]:
    """Judge each subset's reciprocal ranks, weighted sum and fusion, the largest subsets first.

    The last one is nobody: what sells, and what the ranker knows alone.
    """
    count = min(len(asked.task.user_ids), _USERS)
    some = replace(
        asked, task=of_users(asked.task, np.arange(count)), key={**asked.key, "first": count}
    )
    labels = [s.model.label for s in sources.fused().values() if s.model.label in answers]
    main, ks = job.plan.measure().main, job.plan.ks
    found = []
    for size in range(len(labels), -1, -1):
        for chosen in combinations(labels, size):
            fuse = Together(job, some, sources, {label: answers[label] for label in chosen})
            ranked = {"rrf": fuse.by_ranks()} if chosen else {}
            ranked |= {way.name: fuse.one(way, *tuned) for way in _WAYS}
            values = {
                name: float(per_user(r.lists.keys, some.task.targets, ks)[main].mean())
                for name, r in ranked.items()
            }
            found.append(Subset(chosen, count, {"rrf": 0.0, **values}))
    return tuple(found)
