"""The loss: each target against all items, or against a sample that stands for them.

Sampled softmax with logQ correction (Bengio & Senecal 2008): negatives are drawn
once for the whole batch and each stands for 1 / (count x probability) items. Items
of the window itself are not left to chance where repeats count: there the model
must learn which of them comes again, so all of them compete, each once.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.sequence.model import SequenceModel
from models.sequence.prepare import Batch

_NEVER = -1e9


@dataclass(frozen=True, eq=False)
class Negatives:
    """What negatives are drawn from."""

    # Shared negatives per batch; 0 compares with all items.
    count: int
    # Probability of each row, float [n + 1], 0 for row 0.
    probability: Tensor


def next_loss(model: SequenceModel, batch: Batch, negatives: Negatives) -> Tensor:
    """Return the mean cross-entropy of the targets; 0 where the batch has none."""
    width = model.shape.width
    states = model.states(batch.history, batch.told)
    state = states.gather(1, batch.places[:, :, None].expand(-1, -1, width))  # [B, P, d]
    seen: Tensor | None = None
    if model.shape.repeats:
        seen = model.occurrences(batch.history, batch.places, batch.told)
    if negatives.count == 0:
        wanted, others = _full(model, batch, state, seen)
    else:
        wanted, others = _sampled(model, batch, state, seen, negatives)
    real = batch.targets != 0
    count = real.sum(2)
    each = ((others - wanted) * real).sum(2) / count.clamp(min=1)  # [B, P]
    return each.sum() / (count > 0).sum().clamp(min=1)


def _full(
    model: SequenceModel, batch: Batch, state: Tensor, seen: Tensor | None
) -> tuple[Tensor, Tensor]:
    scores = state @ model.all_vectors().t() + model.bias  # [B, P, n + 1]
    if seen is not None:
        rows = batch.history[:, None, :].expand(seen.shape)
        scores = model.mixed(scores, torch.zeros_like(scores).scatter_add(2, rows, seen))
    scores = torch.cat([torch.full_like(scores[:, :, :1], _NEVER), scores[:, :, 1:]], 2)
    return scores.gather(2, batch.targets), torch.logsumexp(scores, 2, keepdim=True)


def _sampled(
    model: SequenceModel,
    batch: Batch,
    state: Tensor,
    seen: Tensor | None,
    negatives: Negatives,
) -> tuple[Tensor, Tensor]:
    """Return the scores of the targets and their log-denominators, both [B, P, M]."""
    history, targets = batch.history, batch.targets
    drawn = torch.multinomial(negatives.probability, negatives.count, replacement=True)  # [K]
    stands_for = torch.log(negatives.probability[drawn] * negatives.count)
    sampled = state @ model.vectors(drawn).t() + model.bias[drawn] - stands_for  # [B, P, K]
    wanted = (state[:, :, None, :] * model.vectors(targets)).sum(3) + model.bias[targets]
    if seen is None:
        return wanted, torch.stack(
            [
                _with_target(sampled, drawn, targets[:, :, at], wanted[:, :, at])
                for at in range(targets.shape[2])
            ],
            2,
        )
    # Which of the drawn are in the window, and so counted there: bool [B, K].
    inside = torch.zeros(len(history), len(model.bias), dtype=torch.bool).scatter(1, history, True)
    sampled = sampled.masked_fill(inside[:, drawn][:, None, :], _NEVER)
    same = (history[:, :, None] == history[:, None, :]).to(state.dtype)  # [B, T, T]
    own = state @ model.vectors(history).transpose(1, 2) + model.bias[history][:, None, :]
    own = model.mixed(own, seen @ same)
    # Each item once, at its last place in the window.
    again = torch.triu(same, diagonal=1).sum(2) > 0
    own = own.masked_fill((again | (history == 0))[:, None, :], _NEVER)
    others = torch.logsumexp(torch.cat([sampled, own], 2), 2, keepdim=True)
    match = (targets[:, :, :, None] == history[:, None, None, :]).to(state.dtype)  # [B, P, M, T]
    wanted = model.mixed(wanted, (match @ seen[:, :, :, None])[..., 0])
    # A target that is in the window is among `own` already.
    return wanted, torch.where(match.any(3), others, torch.logaddexp(wanted, others))


def _with_target(sampled: Tensor, drawn: Tensor, target: Tensor, wanted: Tensor) -> Tensor:
    """Return the log-denominator of a target: itself once, and what else was drawn.

    sampled [B, P, K] of drawn [K]; target and its score wanted [B, P] -> [B, P].
    """
    others = sampled.masked_fill(drawn == target[:, :, None], _NEVER)
    return torch.logaddexp(wanted, torch.logsumexp(others, 2))


def negative_probability(popularity: Tensor, power: float) -> Tensor:
    """Return the probability of each row [n + 1] to be drawn; power 0 draws uniformly."""
    weight = popularity.to(torch.float32).clamp(min=1) ** power
    weight = torch.cat([torch.zeros(1), weight[1:]])
    total = float(weight.sum())
    return weight / (total if math.isfinite(total) and total > 0 else 1.0)
