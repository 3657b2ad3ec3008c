"""What the search over weights looks at: one small table per question.

A case holds, for the union of what the sources answered, each source's
calibrated score and each adjustment at weight 1, and which candidates are
targets. Trying other weights is then one matrix product; the sources are asked
once. The formulas are those of the fusion stages (artifacts/formulas.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from artifacts.formulas import (
    Floats,
    Rows,
    by_step,
    calibrate,
    domain_log_ratio,
    session_affinity,
)
from artifacts.ranker.shelf import leading
from models.evaluate.fused import disliked_by, session_of
from models.evaluate.metrics import Bools, Keys
from models.evaluate.ranking import Asking, Lists, padded_history
from models.evaluate.task import Task
from models.fusion.catalogue import Catalogue

Quantiles = Mapping[str, tuple[Floats, Floats]]
# Adjustments whose weights are searched, in the order of Case.terms.
TERMS = ("trend", "cross_domain", "session")


def no_trends(market: str, now: float) -> Floats | None:  # noqa: ARG001
    """Return None: nothing is known of trends."""
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One question: P candidates, S sources, T terms."""

    calibrated: Floats  # 0..1, absent 0 [S, P]
    answered: Bools  # sources with any opinion [S]
    terms: Floats  # each adjustment at weight 1 [T, P]
    target: Bools  # [P]
    wanted: int  # targets of the question, found or not
    rows: Rows  # of the catalogue [P]


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What the cases of one surface are computed with."""

    catalogue: Catalogue
    quantiles: Quantiles
    asking: Asking
    transition: Floats  # [D, D]
    fade: float = 5.0
    # Returns a market's trend [n] at a time; None: there is none.
    trends: Callable[[str, float], Floats | None] = no_trends
    # How many newest events of a history are the current session where events have no
    # times; 0: there is none, whatever times say.
    session: int = 0
    # Whether what the question tells is a visit under way, and no alternative to the rest.
    visit: bool = False
    # Whether what sells most just now is a candidate whoever names it.
    leads: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What may be answered to one question: P candidates, S sources."""

    keys: Keys  # ascending [P]
    scores: Floats  # as the sources gave them, NaN where absent [S, P]
    calibrated: Floats  # 0..1, NaN where absent [S, P]
    # What is never shown whoever names it: the shopper dislikes it [P].
    hidden: Bools
    told: Bools  # what the visit under way holds [P]


def candidates_of(
    task: Task,
    user: int,
    answers: Sequence[tuple[str, Keys, Floats]],
    setting: Setting,
    own: Keys | None = None,
) -> Candidates:
    """Unite what the sources answered a user, and keys that are candidates without, `own`.

    As in serving, what is hidden, and in a visit what it holds, is no alternative to the
    others, and sets no scale for them.
    """
    valid = [(keys != 0) & np.isfinite(scores) for _, keys, scores in answers]
    named = [keys[has] for (_, keys, _), has in zip(answers, valid, strict=True)]
    union = np.unique(np.concatenate([*named, *([] if own is None else [own])]))
    raw = np.full((len(answers), len(union)), np.nan, np.float32)
    for s, (_, _, scores) in enumerate(answers):
        raw[s, np.searchsorted(union, named[s])] = scores[valid[s]]
    hidden = np.isin(union, disliked_by(task, user))
    mine = slice(task.history.starts[user], task.history.starts[user + 1])
    told = np.isin(union, task.history.keys[mine]) & setting.visit
    quantiles = [setting.quantiles.get(source) for source, _, _ in answers]
    return Candidates(union, raw, calibrate(raw, quantiles, hidden | told), hidden, told)


def leading_of(task: Task, user: int, setting: Setting, trend: Floats | None) -> Keys:
    """Return the keys of what sells most just now, without what must not be shown again."""
    if trend is None or not setting.leads:
        return np.zeros(0, np.int64)
    found: Keys = setting.catalogue.keys[leading(trend)]
    if not task.exclude_seen:
        return found
    mine = slice(task.history.starts[user], task.history.starts[user + 1])
    return found[~np.isin(found, task.history.keys[mine])]


def build_cases(
    task: Task, lists: Mapping[str, Lists], sources: Sequence[str], setting: Setting
) -> list[Case]:
    """Build a case for every user of the task; `lists` by source, in the order of `sources`."""
    everyone = np.arange(len(task.user_ids))
    history, weight = padded_history(task, everyone, setting.asking)
    cases = []
    for user in range(len(task.user_ids)):
        past = history[user] != 0
        cases.append(
            _case(
                task,
                user,
                [(s, lists[s].keys[user], lists[s].scores[user]) for s in sources],
                (history[user][past], weight[user][past]),
                setting,
            )
        )
    return cases


def _case(
    task: Task,
    user: int,
    answers: Sequence[tuple[str, Keys, Floats]],
    history: tuple[Keys, Floats],
    setting: Setting,
) -> Case:
    trend = _trend(task, user, setting)
    found = candidates_of(task, user, answers, setting, leading_of(task, user, setting, trend))
    open_to = ~(found.hidden | found.told)
    done = history, _session(task, user, history, setting)
    union = found.keys[open_to]
    mine = slice(task.targets.starts[user], task.targets.starts[user + 1])
    targets = task.targets.keys[mine]
    return Case(
        calibrated=np.nan_to_num(found.calibrated[:, open_to]),
        answered=np.asarray(~np.isnan(found.scores).all(axis=1)),
        terms=_terms(union, trend, done, setting),
        target=np.isin(union, targets, assume_unique=True),
        wanted=len(targets),
        rows=setting.catalogue.rows(union),
    )


def _trend(task: Task, user: int, setting: Setting) -> Floats | None:
    now = float(task.now[user]) if task.timed else float("nan")
    return setting.trends(task.market[user], now)


def _session(
    task: Task, user: int, history: tuple[Keys, Floats], setting: Setting
) -> tuple[Keys, Floats]:
    """Return the current session's keys and weights."""
    if task.timed or not setting.session:
        return session_of(task, user)
    newest = slice(-setting.session, None)
    return history[0][newest], by_step(history[1][newest])


def _terms(
    union: Keys,
    trend: Floats | None,
    done: tuple[tuple[Keys, Floats], tuple[Keys, Floats]],
    setting: Setting,
) -> Floats:
    """Every adjustment at weight 1 [T, P]; zeros where it does not apply.

    `done`: the history and the session, as keys and weights.
    """
    history, session = done
    catalogue = setting.catalogue
    rows, past = catalogue.rows(union), catalogue.rows(history[0])
    terms = np.zeros((len(TERMS), len(union)), np.float32)
    if trend is not None:
        terms[0] = trend[rows]
    known = catalogue.domain[past] >= 0
    if known.any():
        domains, weight = catalogue.domain[past][known], history[1][known]
        ratio = domain_log_ratio(domains, weight, setting.transition, setting.fade)
        terms[1] = np.where(catalogue.domain[rows] >= 0, ratio[catalogue.domain[rows]], 0)
    if setting.session:
        items = catalogue.vectors, catalogue.category
        terms[2] = session_affinity(session[1], items, catalogue.rows(session[0]), rows)
    return terms
