"""Training the ranker's network: what was bought first, whatever sources there are.

The loss is the softmax cross-entropy of each question's candidates (ListNet: Cao et al.
2007), which NDCG at the top follows closely (Bruch et al. 2019). In every pass sources
are left out of every other question at random, with the candidates that only they
named, so that at serving a missing source is nothing new.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from artifacts.formulas import Floats
from artifacts.ranker.features import blended, named, names
from artifacts.ranker.network import MOST, Network
from models.fusion.config import Config
from models.fusion.tables import Table
from models.progress import Progress
from models.threads import torch_threads

# Weights [M, width, units] and biases [M, 1, units] of M networks.
Layer = tuple[torch.Tensor, torch.Tensor]

# Questions of a step; learning rate at its height.
_BATCH, _RATE = 16, 2e-3
# How often a question lacks sources, and how often each of them is then out.
_FEWER, _OUT = 0.5, 0.5
# A question with many targets counts as one with this many.
_MOST_TARGETS = 10


def train_network(
    config: Config, tables: Sequence[Table], sources: int, progress: Progress
) -> Network:
    """Train on tables of features that start with those of `sources` sources.

    The network is the mean of `config.members`, which begin at different weights and see
    the same questions.
    """
    mean, scale = _moments(tables, sources)
    rng = np.random.default_rng(config.seed)
    with torch_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers = _layers(config.members, (len(mean), *config.hidden, 1))
        numbers = [number for layer in layers for number in layer]
        steps = max(len(tables) // _BATCH, 1)
        optimiser = torch.optim.AdamW(numbers, lr=_RATE, weight_decay=1e-5)
        total = config.passes * steps + 1
        # A rise of a single step has no length to divide by.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, _RATE, total_steps=total, pct_start=max(0.1, 2 / total)
        )
        for number in range(config.passes):
            order = rng.permutation(len(tables))
            for step in range(steps):
                batch = [tables[i] for i in order[step * _BATCH : (step + 1) * _BATCH]]
                shown = [_fewer(table, sources, rng) for table in batch]
                loss = _loss(layers, shown, mean, scale)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
            progress(number + 1, config.passes, f"ranker: pass {number + 1}")
        return _exported(layers, mean, scale)


def _layers(members: int, widths: Sequence[int]) -> list[Layer]:
    """Return layers as torch begins them, for all members at once."""
    layers = []
    for width, units in pairwise(widths):
        weight, bias = torch.empty(members, width, units), torch.empty(members, 1, units)
        for drawn in (weight, bias):
            drawn.uniform_(-(width**-0.5), width**-0.5).requires_grad_()
        layers.append((weight, bias))
    return layers


def _scores(layers: Sequence[Layer], table: torch.Tensor) -> torch.Tensor:
    """Return every member's score of each row of standardised features [N, F] -> [M, N]."""
    units = table
    for number, (weight, bias) in enumerate(layers):
        units = torch.matmul(units, weight) + bias
        if number < len(layers) - 1:
            units = torch.relu(units)
    return units[..., 0]


def _exported(layers: Sequence[Layer], mean: Floats, scale: Floats) -> Network:
    """Return the mean of all members as one network: their units side by side."""
    weights, biases = [], []
    for number, (weight, bias) in enumerate(layers):
        blocks, offsets = weight.detach(), bias.detach()
        joined = _diagonal(blocks) if number else torch.cat([*blocks], dim=1)
        offset = offsets.flatten()
        if number == len(layers) - 1:
            joined, offset = torch.cat([*blocks]) / len(blocks), offsets.mean(dim=0).flatten()
        weights.append(np.ascontiguousarray(joined.numpy()))
        biases.append(np.array(offset.numpy()))
    return Network(mean, scale, tuple(weights), tuple(biases))


def _diagonal(blocks: torch.Tensor) -> torch.Tensor:
    """Return a matrix of M blocks [M, width, units] that do not see each other."""
    found: torch.Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return found


def _fewer(table: Table, sources: int, rng: np.random.Generator) -> Table:
    """Return a question as it would be with some sources gone, or as it is."""
    if not named(table.features, sources).any():
        return table  # nobody is there to go
    if rng.random() >= _FEWER:
        return table
    there = rng.random(sources) >= _OUT
    there[rng.integers(sources)] = True
    return subset(table, there)


def subset(table: Table, there: npt.NDArray[np.bool_]) -> Table:
    """Return a question as it would be had only the sources `there` [S] answered."""
    answered = named(table.features, len(there)).any(axis=0)
    less = blended(table.features, there & answered)
    # A shopper's own items are candidates whoever names them, and what sells most just now.
    times = names([str(number) for number in range(len(there))]).index("times")
    kept = named(less, len(there)).any(axis=1) | (less[:, times] > 0)
    if table.leading is not None:
        kept |= table.leading
    return replace(table, features=less).only(kept)


def _loss(
    layers: Sequence[Layer], tables: Sequence[Table], mean: Floats, scale: Floats
) -> torch.Tensor:
    """Return the members' losses, added up: each learns as if it were alone."""
    every = np.concatenate([table.features for table in tables])
    standard = np.clip((every - mean) * scale, -MOST, MOST).astype(np.float32)
    scores = _scores(layers, torch.from_numpy(standard))
    losses = []
    for table, score in zip(
        tables, torch.split(scores, [len(table.target) for table in tables], dim=1), strict=True
    ):
        found = int(table.target.sum())
        if found:
            target = torch.from_numpy(table.target)
            share = min(found, _MOST_TARGETS) / _MOST_TARGETS / found
            logs = torch.log_softmax(score, 1)[:, target]
            if table.weight is not None:
                logs = logs * torch.from_numpy(table.weight[table.target])
            losses.append(-logs.sum() * share)
    return torch.stack(losses).sum() / len(tables) if losses else scores.sum() * 0


def _moments(tables: Sequence[Table], sources: int) -> tuple[Floats, Floats]:
    """Return mean and 1 / deviation of every feature [F]; 0 where a feature never differs.

    Nothing is learned of such a one, so it has no say should it differ in serving: of what
    was bought where nobody buys again, of prices in a shop that had none. What sources say
    differs once some are left out: there it is 1.
    """
    count = sum(len(table.target) for table in tables)
    mean = sum(table.features.sum(axis=0, dtype=np.float64) for table in tables) / count
    square = sum(((table.features - mean) ** 2).sum(axis=0) for table in tables) / count
    deviation = np.sqrt(square)
    of_sources = np.arange(len(deviation)) < names([str(n) for n in range(sources)]).index("times")
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), of_sources)
    return np.asarray(mean, np.float32), np.asarray(scale, np.float32)
