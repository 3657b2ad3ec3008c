"""What a shopper did, read in order by an encoder: what comes next?

SASRec (Kang & McAuley 2018) with pre-norm blocks and a softmax over items; or a
recurrent encoder in the place of attention (encoders.py). Two ideas beside it.
Shoppers buy again what they bought: the next item is either drawn from all items or
copied from the history, so an item's probability is the sum of both (a pointer
mixture, See, Liu & Manning 2017), and what was bought often counts, popular or not.
And where data are few, scores are cosines over a temperature: no vector can then
shout, and a model learns in a dozen epochs what takes products a hundred and fifty.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sequence.encoders import Attention, Encoder, Recurrent
from models.sequence.told import NOTHING, Telling, Told

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
    encoder: str = "attention"
    # 0: a score is the product of state and item vector. Else it is their cosine divided
    # by this: how much is sold is left to the bias, how alike things are to the vectors.
    temperature: float = 0.0
    # Whether event types and times are read (told.py).
    types: bool = False
    gaps: bool = False


class SequenceModel(nn.Module):
    """Scores every item as the next one; `forward` is the graph that is served."""

    def __init__(self, shape: Shape, features: Tensor | None = None) -> None:
        """`features` int64 [n + 1, F]: what is said of each item (features.py)."""
        super().__init__()
        self.shape = shape
        # One vector per item, read at the input and at the output; row 0 is "no item".
        self.items = nn.Embedding(shape.items + 1, shape.width, padding_idx=0)
        self.bias = nn.Parameter(torch.zeros(shape.items + 1))
        self.norm_input = nn.LayerNorm(shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.encoder = encoder(shape)
        self.telling: Telling | None = None
        if shape.types or shape.gaps:
            self.telling = Telling(shape.width, types=shape.types, gaps=shape.gaps)
        self.features: _Features | None = None
        if features is not None and features.numel():
            self.features = _Features(features, shape.width)
        # Whether the rows of `items` are the item vectors as they are.
        self.settled = shape.temperature == 0 and self.features is None
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

    def vectors(self, rows: Tensor) -> Tensor:
        """Return the item vectors of rows of any shape, as scores use them."""
        found: Tensor = self.items(rows)
        if self.settled:
            return found
        if self.features is not None:
            found = found + self.features(rows)
        return functional.normalize(found, dim=-1) if self.shape.temperature > 0 else found

    def all_vectors(self) -> Tensor:
        """Return the vectors of all rows [n + 1, d]."""
        weight = self.items.weight
        return weight if self.settled else self.vectors(torch.arange(len(weight)))

    def states(self, history: Tensor, told: Told = NOTHING, *, newest_only: bool = False) -> Tensor:
        """Read histories [B, T] (rows, 0 pads on the left) -> states [B, T or 1, d]."""
        x = self.norm_input(self.vectors(history))
        if self.telling is not None:
            x = x + self.telling.inputs(told)
        x = self.dropout(x)
        normed: Tensor = self.norm_output(self.encoder(x, history != 0, newest_only))
        if self.shape.temperature > 0:
            return functional.normalize(normed, dim=-1) / self.shape.temperature
        return normed

    def occurrences(self, history: Tensor, at: Tensor, told: Told = NOTHING) -> Tensor:
        """Return the repeat weight of each event as seen from places `at`.

        history [B, T], at int64 [B, P] -> float [B, P, T], 0 for padding and the future.
        """
        places = torch.arange(history.shape[1], device=history.device)
        age = at[:, :, None] - places
        real = (age >= 0) & (history != 0)[:, None, :]
        log = self.repeat_item[history][:, None, :] + self.repeat_age[age.clamp(min=0)]
        if self.telling is not None:
            log = log + self.telling.occurrences(told, at)
        weight = torch.exp(log)
        return weight * real.to(weight.dtype)

    def mixed(self, scores: Tensor, occurrences: Tensor) -> Tensor:
        """Add copying to drawing: log(exp(score) + occurrences), any shape; 0 changes nothing."""
        return scores + functional.softplus(torch.log(occurrences + _ALMOST_NEVER) - scores)

    def scores(self, history: Tensor, told: Told = NOTHING) -> tuple[Tensor, Tensor]:
        """Score all items after each history [B, T] -> scores [B, n + 1], state [B, d]."""
        state = self.states(history, told, newest_only=True)[:, 0]
        scores = state @ self.all_vectors().t() + self.bias
        if self.shape.repeats:
            last = torch.full_like(history[:, :1], history.shape[1] - 1)
            seen = self.occurrences(history, last, told)[:, 0]  # [B, T]
            # Copying adds to what is in the history: logarithms of all items would take
            # longer than their scores.
            often = torch.zeros_like(scores).scatter_add(1, history, seen).gather(1, history)
            scores = scores.scatter(1, history, self.mixed(scores.gather(1, history), often))
        return scores, state


class _Features(nn.Module):
    """The mean of the vectors of what is said of an item; zeros where nothing is."""

    of_row: Tensor

    def __init__(self, of_row: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("of_row", of_row, persistent=False)
        self.bag = nn.EmbeddingBag(int(of_row.max()) + 1, width, mode="mean", padding_idx=0)
        nn.init.normal_(self.bag.weight, std=0.02)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of any shape -> vectors, one axis more."""
        found: Tensor = self.bag(self.of_row[rows.reshape(-1)])
        return found.reshape(*rows.shape, -1)


def encoder(shape: Shape) -> Encoder:
    """Return an untrained encoder; raises ValueError for a name there is none of."""
    if shape.encoder == "attention":
        return Attention(shape.width, shape.blocks, shape.heads, shape.length, shape.dropout)
    return Recurrent(shape.encoder, shape.width, shape.blocks, shape.dropout)


def settle(model: SequenceModel) -> SequenceModel:
    """Return a model that scores alike and whose item vectors need no more work per question."""
    if model.settled:
        return model
    settled = copy.deepcopy(model)
    with torch.no_grad():
        settled.items.weight.copy_(model.all_vectors())
    settled.settled, settled.features = True, None
    return settled
