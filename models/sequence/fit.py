"""The training loop: batches, steps, a look at held-out events now and then.

The one idea: progress is the share of the budget spent, in steps or in seconds,
whichever is further, and the learning rate falls with it. So a slow machine ends
in time with a model that was cooled down properly.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artifacts.engine import Answer, Question
from artifacts.engines.graph import left_padded
from artifacts.engines.told import TOLD, told
from artifacts.keys import KeyIndex, Keys
from models.curves import Curves
from models.data.interactions import Interactions
from models.progress import Progress, silent
from models.sequence.loss import Negatives, negative_probability, next_loss
from models.sequence.model import SequenceModel, settle
from models.sequence.prepare import Batch, Windows, epoch
from models.sequence.told import Told
from plait.v1.manifest_pb2 import Manifest

_WARM_UP = 30  # steps
# Steps from one point of the loss curve to the next; a point is the mean of those between.
_CURVE_STEPS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to train; see Config for what each trades."""

    steps: int
    max_seconds: float
    learning_rate: float
    weight_decay: float
    negatives: int
    negative_power: float
    evaluations: int
    patience: int
    seed: int
    # Last step, though the learning rate falls as if `steps` were to come; 0: `steps`.
    stop_after: int = 0


def fit(
    model: SequenceModel,
    data: Interactions,
    windows: Windows,
    plan: Plan,
    *,
    judge: Callable[[SequenceModel], float] | None = None,
    curves: Curves | None = None,
    progress: Progress = silent,
) -> int:
    """Train in place; return the steps after which the kept state was reached.

    With a judge (higher is better) the best state seen is kept, and training stops
    after `patience` looks without a better one; without, the last state is. `curves`
    gets the loss and what the judge said.
    """
    curves = curves if curves is not None else Curves()
    optimiser = _optimiser(model, plan)
    counts = torch.from_numpy(np.bincount(data.row, minlength=model.shape.items + 1))
    chance = negative_probability(counts, plan.negative_power)
    negatives = Negatives(plan.negatives, chance)
    torch.manual_seed(plan.seed)
    every = max(1, plan.steps // max(1, plan.evaluations))
    look = _Look(judge, plan.patience, curves)
    losses: list[float] = []
    began, step = time.monotonic(), 0
    for step, batch in enumerate(_forever(data, windows, plan.seed), start=1):
        seconds = time.monotonic() - began - look.seconds
        share = max((step - 1) / plan.steps, _share(seconds, plan))
        if share < 1:
            loss = _step(model, optimiser, batch, negatives, _rate(plan, step, share))
            progress(round(1000 * share), 1000, f"loss {loss:.3f}")
            losses.append(loss)
        if len(losses) == _CURVE_STEPS:
            curves.add("loss", step, float(np.mean(losses)))
            losses.clear()
        if step % every == 0 or share >= 1:
            look.at(model, step)
        if share >= 1 or look.enough or step == plan.stop_after:
            break
    look.restore(model)
    model.eval()
    return look.step or step


class _Look:
    """Keeps the best state that a judge has seen."""

    def __init__(
        self, judge: Callable[[SequenceModel], float] | None, patience: int, curves: Curves
    ) -> None:
        self._judge = judge
        self._curves = curves
        self._patience = patience
        self._best = -np.inf
        self._state: dict[str, Any] | None = None
        self._waited = 0
        self.step = 0
        self.seconds = 0.0

    @property
    def enough(self) -> bool:
        """Whether the last `patience` looks brought nothing better."""
        return self._waited > self._patience

    def at(self, model: SequenceModel, step: int) -> None:
        """Judge the model as it is now."""
        if self._judge is None:
            return
        began = time.monotonic()
        score = self._judge(model)
        self.seconds += time.monotonic() - began
        self._curves.add("validation", step, score)
        self._waited += 1
        if score > self._best:
            self._best, self._waited, self.step = score, 0, step
            self._state = copy.deepcopy(model.state_dict())

    def restore(self, model: SequenceModel) -> None:
        """Put the best state back."""
        if self._state is not None:
            model.load_state_dict(self._state)


def _step(
    model: SequenceModel,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    negatives: Negatives,
    rate: float,
) -> float:
    model.train()
    for group in optimiser.param_groups:
        group["lr"] = rate * group["faster"]
    loss = next_loss(model, batch, negatives)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _optimiser(model: SequenceModel, plan: Plan) -> torch.optim.Optimizer:
    # The few numbers of the repeat head and the distances have far to go, and
    # decay would pull them towards values that mean something else.
    few = ("repeat_item", "repeat_age", "repeat_type", "repeat_elapsed", "distance")
    named = list(model.named_parameters())
    quick = [p for name, p in named if name.rsplit(".", 1)[-1] in few]
    rest = [p for name, p in named if name.rsplit(".", 1)[-1] not in few]
    return torch.optim.AdamW(
        [
            {"params": rest, "faster": 1.0, "weight_decay": plan.weight_decay},
            {"params": quick, "faster": 5.0, "weight_decay": 0.0},
        ],
        lr=plan.learning_rate,
        betas=(0.9, 0.98),
    )


def _rate(plan: Plan, step: int, share: float) -> float:
    return plan.learning_rate * min(1.0, step / _WARM_UP) * max(1.0 - share, 0.02)


def _share(seconds: float, plan: Plan) -> float:
    return seconds / plan.max_seconds if plan.max_seconds > 0 else 0.0


def _forever(data: Interactions, windows: Windows, seed: int) -> Iterator[Batch]:
    random = np.random.default_rng(seed)
    while True:
        yield from epoch(data, windows, random)


class TorchEngine:
    """The model in training, asked as the exported graph would be: for validation only."""

    def __init__(self, model: SequenceModel, keys: Keys) -> None:
        self.manifest = Manifest(source="sequence", engine="torch")
        self._model = settle(model)
        self._index = KeyIndex(keys)

    def run(self, question: Question) -> Answer:
        """Answer retrieve questions."""
        if question.k is None:
            raise ValueError("the model in training answers retrieve questions only")
        rows = self._index.rows(question.history)
        columns = told(question, TOLD)
        rows, (types, ages) = left_padded(rows, tuple(columns.values()), self._model.shape.length)
        known = Told(torch.from_numpy(types), torch.from_numpy(ages))
        k = min(int(question.k.max()), len(self._index))
        self._model.eval()
        with torch.no_grad():
            every, _ = self._model.scores(torch.from_numpy(rows), known)
            scores, best = torch.topk(every[:, 1:], k, dim=1)
        return Answer(scores=_numpy(scores), item_keys=self._index.keys_by_row[best.numpy() + 1])


def _numpy(values: Tensor) -> np.ndarray:
    return values.numpy()
