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

_NEVER = -1e9
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


class Attention(nn.Module):
    """Blocks of causal self-attention; distances between events, not their places, count."""

    def __init__(self, width: int, blocks: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, length, dropout) for _ in range(blocks))

    def forward(self, x: Tensor, real: Tensor, newest_only: bool) -> Tensor:
        """See Encoder."""
        places = torch.arange(x.shape[1], device=x.device)
        apart = places[:, None] - places[None, :]  # [T, T], negative: still to come
        # A place reads itself even where it pads, lest softmax divide nothing by nothing.
        unseen = (apart < 0) | (~real[:, None, None, :] & (apart != 0))
        hidden = unseen.to(torch.float32) * _NEVER  # [B, 1, T, T]
        apart = apart.clamp(min=0)
        for number, block in enumerate(self.blocks):
            if newest_only and number == len(self.blocks) - 1:
                apart, hidden = apart[-1:], hidden[:, :, -1:]
            x = block(x, apart, hidden)
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
