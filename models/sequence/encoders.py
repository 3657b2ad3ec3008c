"""What turns item vectors in order into what a shopper is up to, at every place.

All encoders answer the same question, so a model is one of them and nothing else
changes: attention (SASRec, Kang & McAuley 2018), GRU (GRU4Rec, Hidasi et al. 2016)
or LSTM. The one idea: padding is on the left and must change nothing. Attention hides
it; a recurrent encoder reads each row from its first event on and turns it back.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

# What hides padding, and what hides the more certainly what is still to come.
_PADDED, _TO_COME = -1e9, -2e9
ENCODERS = ("attention", "lstm", "gru")


class Encoder(Protocol):
    """Vectors [B, T, d] and which of them are events, bool [B, T] -> [B, T or 1, d]."""

    def __call__(self, x: Tensor, real: Tensor, newest_only: bool) -> Tensor:
        """Read; with `newest_only` the last place alone is wanted."""
        ...


class Block(nn.Module):
    """Causal self-attention, then two linear layers; each normalises what it reads."""

    def __init__(self, width: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm_hidden = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        # Where an event stands in a window means nothing, so one window of a long history
        # teaches at many places at once. What a distance of
        # 0, 1, .. events adds to attention, per head.
        self.distance = nn.Parameter(torch.zeros(heads, length))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, padded: Tensor, newest_only: bool) -> Tensor:
        """Update all T places, or the newest alone.

        x [B, T, d], padded [B, 1, 1, T] (0 or -1e9) -> [B, T or 1, d].
        """
        batch, length, width = x.shape
        normed = self.norm_attention(x)
        asking = x[:, -1:] if newest_only else x
        query = self.query(normed[:, -1:] if newest_only else normed)
        key, value = self.key_value(normed).chunk(2, dim=-1)
        query = query * (width // self.heads) ** -0.5
        # [B, T, d] -> [B, heads, T, d / heads]
        query, key, value = (
            t.reshape(batch, -1, self.heads, width // self.heads).transpose(1, 2)
            for t in (query, key, value)
        )
        apart = self.newest(length) if newest_only else self.between(length)
        weights = query @ key.transpose(-1, -2) + apart + padded  # [B, heads, T or 1, T]
        mixed = (torch.softmax(weights, -1) @ value).transpose(1, 2).reshape(asking.shape)
        x = asking + self.dropout(self.out(mixed))
        grown = functional.gelu(self.up(self.norm_hidden(x)))
        changed: Tensor = x + self.dropout(self.down(grown))
        return changed

    def newest(self, length: int) -> Tensor:
        """What distances add as the newest of T places sees the others [heads, 1, T]."""
        return self.distance[:, :length].flip(1)[:, None]

    def between(self, length: int) -> Tensor:
        """What distances add between any two of T places [heads, T, T]; never what is to come.

        Each row is the one below it, moved by one: laid end to end in rows one shorter than
        what repeats, which copies whole rows where looking up each pair takes ten times as
        long.
        """
        seen = self.distance[:, :length].flip(1)
        line = torch.cat([seen, torch.full_like(seen, _TO_COME)], 1)  # [heads, 2 T]
        rows = line.repeat(1, length)[:, : length * (2 * length - 1)]
        return rows.reshape(self.heads, length, 2 * length - 1)[:, :, length - 1 :]


class Attention(nn.Module):
    """Blocks of causal self-attention; distances between events, not their places, count."""

    def __init__(self, width: int, blocks: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, length, dropout) for _ in range(blocks))

    def forward(self, x: Tensor, real: Tensor, newest_only: bool) -> Tensor:
        """See Encoder."""
        padded = (~real)[:, None, None, :].to(x.dtype) * _PADDED
        for number, block in enumerate(self.blocks):
            x = block(x, padded, newest_only and number == len(self.blocks) - 1)
        return x


class Recurrent(nn.Module):
    """Layers of GRU or LSTM."""

    def __init__(self, kind: str, width: int, layers: int, dropout: float) -> None:
        """Raises ValueError for a kind that is neither "gru" nor "lstm"."""
        super().__init__()
        made = {"gru": nn.GRU, "lstm": nn.LSTM}.get(kind)
        if made is None:
            raise ValueError(f"there is no encoder {kind!r}; there are: {', '.join(ENCODERS)}")
        self.kind = kind
        self.between = dropout if layers > 1 else 0.0
        self.layers = made(width, width, layers, batch_first=True, dropout=self.between)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor, newest_only: bool) -> Tensor:
        """See Encoder."""
        padded = (~real).to(torch.int64).sum(1, keepdim=True)  # [B, 1]
        places = torch.arange(x.shape[1], device=x.device)[None, :]
        x = _turned(x, (places + padded) % x.shape[1])
        # Given, lest the exported graph fix the size of a batch.
        start = x.new_zeros(self.layers.num_layers, x.shape[0], x.shape[2])
        read: Tensor = self.layers(x, start if self.kind == "gru" else (start, start))[0]
        read = _turned(self.dropout(read), (places - padded) % x.shape[1])
        return read[:, -1:] if newest_only else read


def _turned(x: Tensor, places: Tensor) -> Tensor:
    """Take places [B, T] of x [B, T, d]."""
    return x.gather(1, places[:, :, None].expand(-1, -1, x.shape[2]))
