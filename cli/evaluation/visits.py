"""SESSION and CART, judged by visits: each shopper's first one after the split.

The one idea: nobody is known. The rest of a visit is looked for from its first five
events, an item of a basket from the others, and what the shopper did before is not told.
"""

from dataclasses import replace

from cli.evaluation.ranking import Asked, Together, alone
from cli.evaluation.tables import Ranked, make_table, rank_again
from cli.evaluation.training import Job, Sources
from models.evaluate.report import Table
from models.evaluate.task import Task
from models.evaluate.work import code_of
from models.fusion.asked import VISITS
from models.fusion.live import session_task_of_strangers
from models.fusion.surfaces import SESSION, cart_task, first_visits, visits

_TITLES = {
    "SESSION": f"The rest of a visit, from its first {SESSION} items alone",
    "CART": "An item of a basket, from the others alone",
}


def visit_tables(job: Job, ranked: Ranked) -> tuple[list[Table], dict[str, str]]:
    """Return a table for each surface; also say which is left out, for want of visits."""
    tables, skipped = [], {}
    for surface in VISITS:
        task = _task(job, surface)
        if not task.user_ids:
            skipped[surface] = "there are no visits of enough items"
            continue
        key = {
            "parts": job.key,
            "visits": surface,
            "users": job.plan.users,
            "seed": job.plan.seed,
            "code": code_of("models.fusion.live"),
        }
        asked = Asked(task, key, surface)
        rows = rank_again(job, asked, replace(ranked, tuned=None))
        if ranked.tuned is not None:
            rows += _fused(job, asked, ranked.sources).ways(*ranked.tuned)
        tables.append(make_table(job, asked, rows, _TITLES[surface]))
    return tables, skipped


def _fused(job: Job, asked: Asked, sources: Sources) -> Together:
    """Return the fusion of answers as they are served: models name what the visit holds too."""
    task = replace(asked.task, exclude_seen=False)
    served = replace(asked, task=task, key={**asked.key, "seen": "named by models"})
    return Together(job, served, sources, alone(job, served, sources))


def _task(job: Job, surface: str) -> Task:
    plan, wanted = job.plan, job.parts.wanted
    if surface == "SESSION":
        task = session_task_of_strangers(job.parts.known, wanted, users=plan.users, seed=plan.seed)
        # A shop knows what the visit holds: it is not shown.
        return replace(task, exclude_seen=True)
    every = visits(wanted, "time", most=wanted.height, seed=plan.seed, least=3)
    first = every.join(first_visits(every), on="user_id", how="semi", maintain_order="left")
    return cart_task(first, plan.users, plan.seed)
