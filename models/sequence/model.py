"""A causal transformer over what a shopper did: what comes next?

SASRec (Kang & McAuley 2018) with pre-norm blocks and a softmax over items. Two
ideas beside it. Attention sees how many events lie between two, not where they
stand, so one window of a long history teaches at many places at once. And
shoppers buy again what they bought: the next item is either drawn from all items
or copied from the history, so an item's probability is the sum of both (a pointer
mixture, See, Liu & Manning 2017), and what was bought often counts, popular or not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_NEVER = -1e9
# Keeps the logarithm of no occurrence finite, far below any score.
_ALMOST_NEVER = 1e-20


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    items: int
    width: int = 64
    blocks: int = 2
    heads: int = 2
    # Longest history, in events.
    length: int = 200
    dropout: float = 0.2
    # Whether items are copied from the history as well.
    repeats: bool = True


class Block(nn.Module):
    """Causal self-attention, then two linear layers; each normalises what it reads."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.norm_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm_hidden = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        # What a distance of 0, 1, .. events adds to attention, per head.
        self.distance = nn.Parameter(torch.zeros(shape.heads, shape.length))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, apart: Tensor, hidden: Tensor) -> Tensor:
        """Update the newest q of T places.

        x [B, T, d], apart int64 [q, T] events between two places, hidden [B, 1, q, T]
        (0 or -1e9) -> [B, q, d].
        """
        batch, length, width = x.shape
        asking = x[:, length - apart.shape[0] :]
        normed = self.norm_attention(x)
        query = self.query(normed[:, length - apart.shape[0] :])
        key, value = self.key_value(normed).chunk(2, dim=-1)
        # [B, T, d] -> [B, heads, T, d / heads]
        query, key, value = (
            t.reshape(batch, -1, self.heads, width // self.heads).transpose(1, 2)
            for t in (query, key, value)
        )
        weights = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        weights = weights + self.distance[:, apart] + hidden  # [B, heads, q, T]
        mixed = (torch.softmax(weights, -1) @ value).transpose(1, 2).reshape(asking.shape)
        x = asking + self.dropout(self.out(mixed))
        grown = functional.gelu(self.up(self.norm_hidden(x)))
        changed: Tensor = x + self.dropout(self.down(grown))
        return changed


class SequenceModel(nn.Module):
    """Scores every item as the next one; `forward` is the graph that is served."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        # One vector per item, read at the input and at the output; row 0 is "no item".
        self.items = nn.Embedding(shape.items + 1, shape.width, padding_idx=0)
        self.bias = nn.Parameter(torch.zeros(shape.items + 1))
        self.norm_input = nn.LayerNorm(shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.blocks))
        self.norm_output = nn.LayerNorm(shape.width)
        # Copying: the log of an occurrence's weight, by item and by events since. At first a
        # full history weighs about as much as all items together.
        even = 1.0 - torch.log(torch.tensor(float(shape.length)))
        self.repeat_item = nn.Parameter(even.expand(shape.items + 1).clone())
        self.repeat_age = nn.Parameter(-0.2 * torch.log1p(torch.arange(shape.length).float()))
        nn.init.normal_(self.items.weight, std=0.02)
        # Quiet at first: training starts from popularity and repeats and adds to them.
        nn.init.constant_(self.norm_output.weight, 0.1)
        with torch.no_grad():
            self.items.weight[0] = 0

    def states(self, history: Tensor, *, newest_only: bool = False) -> Tensor:
        """Read histories [B, T] (rows, 0 pads on the left) -> states [B, T or 1, d]."""
        places = torch.arange(history.shape[1], device=history.device)
        apart = places[:, None] - places[None, :]  # [T, T], negative: still to come
        # A place reads itself even where it pads, lest softmax divide nothing by nothing.
        unseen = (apart < 0) | ((history == 0)[:, None, None, :] & (apart != 0))
        hidden = unseen.to(torch.float32) * _NEVER  # [B, 1, T, T]
        apart = apart.clamp(min=0)
        x = self.dropout(self.norm_input(self.items(history)))
        for number, block in enumerate(self.blocks):
            if newest_only and number == len(self.blocks) - 1:
                apart, hidden = apart[-1:], hidden[:, :, -1:]
            x = block(x, apart, hidden)
        normed: Tensor = self.norm_output(x)
        return normed

    def occurrences(self, history: Tensor, at: Tensor) -> Tensor:
        """Return the repeat weight of each event as seen from places `at`.

        history [B, T], at int64 [B, P] -> float [B, P, T], 0 for padding and the future.
        """
        places = torch.arange(history.shape[1], device=history.device)
        age = at[:, :, None] - places
        real = (age >= 0) & (history != 0)[:, None, :]
        weight = torch.exp(
            self.repeat_item[history][:, None, :] + self.repeat_age[age.clamp(min=0)]
        )
        return weight * real.to(weight.dtype)

    def mixed(self, scores: Tensor, occurrences: Tensor) -> Tensor:
        """Add copying to drawing: log(exp(score) + occurrences), any shape; 0 changes nothing."""
        return scores + functional.softplus(torch.log(occurrences + _ALMOST_NEVER) - scores)

    def scores(self, history: Tensor) -> tuple[Tensor, Tensor]:
        """Score all items after each history [B, T] -> scores [B, n + 1], state [B, d]."""
        state = self.states(history, newest_only=True)[:, 0]
        scores = state @ self.items.weight.t() + self.bias
        if self.shape.repeats:
            last = torch.full_like(history[:, :1], history.shape[1] - 1)
            seen = self.occurrences(history, last)[:, 0]  # [B, T]
            scores = self.mixed(scores, torch.zeros_like(scores).scatter_add(1, history, seen))
        return scores, state

    def forward(
        self, history: Tensor, candidates: Tensor, k: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answer both questions of the contract (artifacts/engines/graph.py).

        history int64 [B, T], candidates int64 [B, C], k int64 [1] -> rows [B, k],
        scores [B, k], candidate_scores [B, C], embedding [B, d + 1]. The embedding
        ends in a 1: its product with an item's vector and bias is the item's score,
        but for the copied share of items in the history.
        """
        scores, state = self.scores(history)
        # A tensor as k keeps it an input of the graph.
        best = torch.topk(scores[:, 1:], k[0], dim=1)  # type: ignore[arg-type]
        embedding = functional.pad(state, (0, 1), value=1.0)
        return best.indices + 1, best.values, scores.gather(1, candidates), embedding
