"""Fitting the content model: sampled softmax over what came soon after.

The one idea: the negatives are drawn uniformly and shared by the batch, so a
step costs the same whatever the catalogue's size, and popularity has to be
earned through the short own part, not by how often an item is drawn.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.content.model import Content, Items
from models.content.prepare import Batch, Moments
from models.progress import Progress


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn."""

    steps: int
    batch: int
    negatives: int
    learning_rate: float
    weight_decay: float
    own_dropout: float
    seed: int


def fit(
    model: Content, features: Items, moments: Moments, schedule: Schedule, progress: Progress
) -> None:
    """Train in place, on one thread's worth of seeded draws."""
    if not len(moments.moments) or not schedule.steps:
        return
    random = np.random.default_rng(schedule.seed)
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    speed = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(_speed, steps=schedule.steps))
    model.train()
    for step in range(schedule.steps):
        batch = moments.draw(random, schedule.batch)
        loss = batch_loss(model, features, batch, schedule, random)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        speed.step()
        if step % 10 == 9 or step + 1 == schedule.steps:
            progress(step + 1, schedule.steps, f"loss {loss.item():.3f}")
    model.eval()


def _speed(step: int, steps: int) -> float:
    """Rise over the first tenth, then fall along a cosine to nearly nothing."""
    rise = max(steps // 10, 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / max(steps - rise + 1, 1)))


def batch_loss(
    model: Content, features: Items, batch: Batch, schedule: Schedule, random: np.random.Generator
) -> Tensor:
    """Return the softmax loss of the targets against items drawn uniformly."""
    n = model.shape.items
    drawn = random.choice(n, min(schedule.negatives, n), replace=False) + 1
    negatives = torch.from_numpy(drawn)
    rows = torch.cat([batch.history.flatten(), batch.targets.flatten(), negatives])
    unique, where = torch.unique(rows, return_inverse=True)
    keep = torch.from_numpy(random.random(len(unique)) >= schedule.own_dropout)
    # An embedding's gradient adds up faster than an index's.
    vectors = functional.embedding(where, training_vectors(model, features, unique, keep))
    size, wanted = batch.targets.shape
    history, targets, others = torch.split(
        vectors, [batch.history.numel(), size * wanted, len(drawn)]
    )
    users = model(history.view(*batch.history.shape, -1), batch.weight)
    heat = model.log_temperature.exp()
    positive = (users[:, None] * targets.view(size, wanted, -1)).sum(2) * heat  # [B, T]
    # Each drawn item stands for n / drawn of its kind.
    negative = users @ others.t() * heat + float(np.log(n / len(drawn)))  # [B, S]
    rest = negative.logsumexp(1, keepdim=True)  # [B, 1]
    lost = functional.softplus(rest - positive)  # -log(e^p / (e^p + e^rest))
    real = batch.targets != 0
    return (lost * real).sum() / real.sum()


def training_vectors(model: Content, features: Items, rows: Tensor, keep: Tensor) -> Tensor:
    """Vectors of rows [m] (0 pads) -> [m, d]; without their own part where `keep` is False.

    An item that sometimes has to do without its own part is placed by what it is.
    """
    taken = features.take((rows - 1).clamp(min=0))
    vectors: Tensor = model.tower(*taken) + model.own_part(rows) * keep[:, None]
    return vectors * (rows != 0)[:, None]


@torch.no_grad()
def item_vectors(model: Content, features: Items, trained: Tensor, chunk: int = 4096) -> Tensor:
    """Return the vectors of all items [n, d]; own parts only where `trained` [n] says so."""
    parts = []
    for start in range(0, len(trained), chunk):
        stop = min(start + chunk, len(trained))
        rows = torch.arange(start + 1, stop + 1)
        parts.append(training_vectors(model, features, rows, trained[start:stop]))
    return torch.cat(parts)
