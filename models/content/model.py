"""The content model: items by what they are, users by the items they had.

    item  = tower(text, category, brand, domain, provider, words, price, image)   unit, [d]
            (an image counts as its direction from the mean image, times a weight)
            + own part, at most `own_norm` long, 0 for an item without events
    user  = unit(mix(weighted mean of the history's items))                          [d]
    score = user . item

The one idea: the part that is learned per item is kept short, so that what an
item is decides, and a new item, which has no such part, lies where it would
have lain.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model."""

    items: int
    buckets: int  # rows that fields and words are hashed to
    width: int = 64  # d
    text: int = 384
    image: int = 0  # 0: items have no image vectors
    own_norm: float = 0.5
    # What an image says beside everything else; the rest of its say is learned.
    image_weight: float = 1.0


class Items(NamedTuple):
    """Features of m items; see artifacts/engines/item_tower.py."""

    text: Tensor  # [m, 384], unit or zero
    fields: Tensor  # int64 [m, 4], 0 none
    words: Tensor  # int64 [m, W], 0 none
    price: Tensor  # [m], NaN unknown
    image: Tensor  # [m, image], a zero row: the item has none; image may be 0

    def take(self, rows: Tensor) -> "Items":
        """Return the features of some items."""
        return Items(*(column[rows] for column in self))


class Mix(nn.Module):
    """x + two linear layers: starts as x itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[m, d] -> [m, d]."""
        mixed: Tensor = x + self.down(functional.gelu(self.up(x)))
        return mixed


class Tower(nn.Module):
    """Features to a unit vector."""

    price_mean: Tensor
    price_scale: Tensor
    image_mean: Tensor

    def __init__(
        self,
        shape: Shape,
        price_mean: float = 0.0,
        price_scale: float = 1.0,
        image_mean: Tensor | None = None,
    ) -> None:
        """Prices are compared as (log(1 + price) - mean) / scale.

        image_mean [image]: mean direction of the images there are; None is 0.
        """
        super().__init__()
        self.hashed = nn.Embedding(shape.buckets + 1, shape.width, padding_idx=0)
        self.text = nn.Linear(shape.text, shape.width, bias=False)
        # known, place, place squared: a taste for the middle is possible
        self.price = nn.Linear(3, shape.width, bias=False)
        self.image = nn.Linear(shape.image, shape.width, bias=False) if shape.image else None
        self.image_weight = shape.image_weight
        self.mix = Mix(shape.width)
        mean = torch.zeros(shape.image) if image_mean is None else image_mean
        self.register_buffer("image_mean", mean)
        self.register_buffer("price_mean", torch.tensor(price_mean))
        self.register_buffer("price_scale", torch.tensor(price_scale))
        nn.init.normal_(self.hashed.weight, std=0.1)
        nn.init.normal_(self.text.weight, std=1.0 / shape.width**0.5)
        nn.init.normal_(self.price.weight, std=0.02)
        if self.image is not None:
            nn.init.normal_(self.image.weight, std=1.0 / shape.width**0.5)
        with torch.no_grad():
            self.hashed.weight[0] = 0

    def forward(
        self, text: Tensor, fields: Tensor, words: Tensor, price: Tensor, image: Tensor | None
    ) -> Tensor:
        """See Items; -> unit rows [m, d]."""
        x = self.text(text) + self._summed(fields)
        count = (words != 0).sum(1, keepdim=True).clamp(min=1)
        # Long texts say more, but not as much more as they have words.
        x = x + self._summed(words) / count**0.5
        x = x + self.price(self._price(price))
        if self.image is not None and image is not None:
            x = x + self.image_weight * self.image(self._image(image))
        return functional.normalize(self.mix(x), dim=1)

    def _summed(self, hashes: Tensor) -> Tensor:
        """[m, W] -> [m, d]; 0 adds nothing."""
        if torch.onnx.is_in_onnx_export():  # ONNX has no bags
            total: Tensor = self.hashed(hashes).sum(1)
            return total
        return functional.embedding_bag(hashes, self.hashed.weight, mode="sum", padding_idx=0)

    def _image(self, image: Tensor) -> Tensor:
        """[m, D] of any length -> unit directions from the mean; zero rows stay zero.

        Image models put everything into a narrow cone; what tells images apart is the rest.
        An item without one is then like the mean.
        """
        there = (image.abs().sum(1, keepdim=True) > 0).to(image.dtype)
        apart = functional.normalize(image, dim=1) - self.image_mean
        return functional.normalize(apart, dim=1) * there

    def _price(self, price: Tensor) -> Tensor:
        known = ~torch.isnan(price)
        safe = torch.where(known, price, torch.zeros_like(price)).clamp(min=0)
        place = ((torch.log1p(safe) - self.price_mean) / self.price_scale).clamp(-3, 3)
        place = torch.where(known, place, torch.zeros_like(place))
        return torch.stack([known.to(place.dtype), place, place * place], 1)


class Content(nn.Module):
    """Both sides; rows are 1 .. n, 0 pads."""

    def __init__(self, shape: Shape, tower: Tower) -> None:
        super().__init__()
        self.shape = shape
        self.tower = tower
        self.own = nn.Embedding(shape.items + 1, shape.width, padding_idx=0)
        self.user = Mix(shape.width)
        # Newer events weigh more: weight * (place from the end)^-exponent.
        self.recency = nn.Parameter(torch.tensor(0.3))
        self.log_temperature = nn.Parameter(torch.tensor(2.0))
        nn.init.normal_(self.own.weight, std=0.01)
        with torch.no_grad():
            self.own.weight[0] = 0

    def own_part(self, rows: Tensor) -> Tensor:
        """The learned part of items, rows [m] -> [m, d], none longer than `own_norm`."""
        own: Tensor = self.own(rows)
        limit = self.shape.own_norm
        # A tiny number keeps the gradient of a zero row finite.
        length = (own.square().sum(1, keepdim=True) + 1e-12).sqrt()
        return own * (limit / length.clamp(min=limit)) if limit > 0 else own * 0

    def forward(self, history: Tensor, weight: Tensor) -> Tensor:
        """history [B, L, d] item vectors, weight [B, L] (0 pads) -> users [B, d], unit rows."""
        return user_vectors(self.user, history, weight, self.recency.clamp(min=0))


def user_vectors(mix: Mix, history: Tensor, weight: Tensor, recency: Tensor) -> Tensor:
    """See Content.forward."""
    present = (weight != 0).to(weight.dtype)
    # cumsum from the right, without flip: total - running + own
    place = present.sum(1, keepdim=True) - present.cumsum(1) + present  # [B, L], 1 is newest
    faded = weight * place.clamp(min=1) ** -recency
    mean = (history * faded[:, :, None]).sum(1)  # [B, d]
    return functional.normalize(mix(functional.normalize(mean, dim=1)), dim=1)


class Served(nn.Module):
    """The graph of artifacts/engines/indexed.py: it ends at the user, a search finds the items."""

    vectors: Tensor
    exponent: Tensor

    def __init__(self, model: Content, vectors: Tensor) -> None:
        """vectors [n, d], of row 1 .. n."""
        super().__init__()
        self.mix = model.user
        self.register_buffer("vectors", vectors)
        self.register_buffer("exponent", model.recency.detach().clamp(min=0).clone())

    def forward(self, history: Tensor, weight: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """candidate_scores [B, C], users [B, d]; what row 0 scores means nothing."""
        real = torch.where(history != 0, weight, torch.zeros_like(weight))
        users = user_vectors(self.mix, self._of(history), real, self.exponent)
        return (self._of(candidates) @ users[:, :, None])[:, :, 0], users

    def _of(self, rows: Tensor) -> Tensor:
        return self.vectors[(rows - 1).clamp(min=0)]
