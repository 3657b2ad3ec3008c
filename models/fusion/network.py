"""Training the ranker's network: what was bought first, whatever sources there are.

The loss is the softmax cross-entropy of each question's candidates (ListNet: Cao et al.
2007), which NDCG at the top follows closely (Bruch et al. 2019). In every pass sources
are left out of every other question at random, with the candidates that only they
named, so that at serving a missing source is nothing new.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from artifacts.formulas import Floats
from artifacts.ranker.features import blended, names
from artifacts.ranker.network import MOST, Network
from models.fusion.config import Config
from models.fusion.tables import Table
from models.progress import Progress
from models.threads import torch_threads

# Questions of a step; learning rate at its height.
_BATCH, _RATE = 16, 2e-3
# How often a question lacks sources, and how often each of them is then out.
_FEWER, _OUT = 0.5, 0.5
# A question with many targets counts as one with this many.
_MOST_TARGETS = 10


def train_network(
    config: Config, tables: Sequence[Table], sources: int, progress: Progress
) -> Network:
    """Train on tables of features that start with those of `sources` sources."""
    mean, scale = _moments(tables)
    rng = np.random.default_rng(config.seed)
    with torch_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers = _layers(len(mean), config.hidden)
        steps = max(len(tables) // _BATCH, 1)
        optimiser = torch.optim.AdamW(layers.parameters(), lr=_RATE, weight_decay=1e-5)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, _RATE, total_steps=config.passes * steps + 1, pct_start=0.1
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


def _layers(width: int, hidden: Sequence[int]) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for units in hidden:
        layers += [torch.nn.Linear(width, units), torch.nn.ReLU()]
        width = units
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))


def _exported(layers: torch.nn.Sequential, mean: Floats, scale: Floats) -> Network:
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    weights = tuple(np.ascontiguousarray(layer.weight.detach().numpy().T) for layer in linear)
    return Network(
        mean, scale, weights, tuple(layer.bias.detach().numpy().copy() for layer in linear)
    )


def _fewer(table: Table, sources: int, rng: np.random.Generator) -> Table:
    """Return a question as it would be with some sources gone, or as it is."""
    if rng.random() >= _FEWER:
        return table
    there = rng.random(sources) >= _OUT
    there[rng.integers(sources)] = True
    return subset(table, there)


def subset(table: Table, there: npt.NDArray[np.bool_]) -> Table:
    """Return a question as it would be had only the sources `there` [S] answered."""
    answered = table.features[:, 2 : 3 * len(there) : 3].any(axis=0)
    less = blended(table.features, there & answered)
    named = less[:, 2 : 3 * len(there) : 3].any(axis=1)
    # A shopper's own items are candidates whoever names them.
    times = names([str(number) for number in range(len(there))]).index("times")
    kept = named | (less[:, times] > 0)
    weight = None if table.weight is None else table.weight[kept]
    return replace(
        table, features=less[kept], target=table.target[kept], rows=table.rows[kept], weight=weight
    )


def _loss(
    layers: torch.nn.Sequential, tables: Sequence[Table], mean: Floats, scale: Floats
) -> torch.Tensor:
    every = np.concatenate([table.features for table in tables])
    standard = np.clip((every - mean) * scale, -MOST, MOST).astype(np.float32)
    scores = layers(torch.from_numpy(standard)).squeeze(1)
    losses = []
    for table, score in zip(
        tables, torch.split(scores, [len(table.target) for table in tables]), strict=True
    ):
        found = int(table.target.sum())
        if found:
            target = torch.from_numpy(table.target)
            share = min(found, _MOST_TARGETS) / _MOST_TARGETS / found
            logs = torch.log_softmax(score, 0)[target]
            if table.weight is not None:
                logs = logs * torch.from_numpy(table.weight[table.target])
            losses.append(-logs.sum() * share)
    return torch.stack(losses).sum() / len(tables) if losses else scores.sum() * 0


def _moments(tables: Sequence[Table]) -> tuple[Floats, Floats]:
    """Return mean and 1 / deviation of every feature [F]; 1 where a feature never differs."""
    count = sum(len(table.target) for table in tables)
    mean = sum(table.features.sum(axis=0, dtype=np.float64) for table in tables) / count
    square = sum(((table.features - mean) ** 2).sum(axis=0) for table in tables) / count
    deviation = np.sqrt(square)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 1)
    return np.asarray(mean, np.float32), np.asarray(scale, np.float32)
