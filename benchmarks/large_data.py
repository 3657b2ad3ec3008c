"""A shop of any size, made up: no public data set has a million items that people bought.

Items lie in categories of departments; popularity falls as Zipf's law within a
category; a shopper likes a few categories and strays sometimes. Titles are words of
the category and of the item. For benchmarks of cost, memory and search only: how well
models rank says nothing here.

python -m benchmarks.large_data DIRECTORY --items 1000000 [--events N] [--seed N]
writes items.parquet and events.parquet, for `plait import parquet DIRECTORY ...`.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts.disk import whole
from artifacts.engine import Scores
from artifacts.item_text import item_text
from benchmarks.command import count, count_or_0, ended, folder
from cli.failures import UserError
from models.text.encode import encode_texts, keep_vectors, prepare_encoder

Ints = npt.NDArray[np.int64]
_SYLLABLES = ("ba", "co", "di", "fu", "ga", "he", "ju", "ka", "li", "mo", "ne", "pi", "ro", "su",
              "ta", "ve", "wi", "xa", "yo", "ze")  # fmt: skip
_DEPARTMENTS = 30
_BRANDS = 2_000
# Likes of one shopper, and the part of the events that stray from them.
_LIKES, _STRAYS = 4, 0.1
_DAYS = 120
_START = datetime(2026, 1, 1, tzinfo=UTC)
_TYPES = ("view", "click", "cart", "purchase")


def items_of(count: int, seed: int = 0) -> pl.DataFrame:
    """Return `count` items in about 2 sqrt(count) categories."""
    random = np.random.default_rng(seed)
    categories = max(40, int(2 * count**0.5))
    category = _zipf(random, categories, 0.6, count)
    names = _words(categories, 3)
    own = _words(max(1_000, count // 50), 4)
    brands = _words(_BRANDS, 2)
    brand = (category * 7 + _zipf(random, 60, 0.8, count)) % _BRANDS
    first, second = random.integers(0, len(own), (2, count))
    size = random.integers(1, 40, count)
    price = np.round(np.exp(random.normal(2 + (category % 7) / 3, 0.6)), 2)
    return pl.DataFrame({
        "item_id": [f"i{n}" for n in range(count)],
        "title": [
            f"{own[a]} {names[c]} {own[b]} {s}"
            for a, c, b, s in zip(first, category, second, size, strict=True)
        ],
        "category": [names[c] for c in category],
        "domain": [f"department {c % _DEPARTMENTS}" for c in category],
        "brand": [brands[b] for b in brand],
        "price": price,
    })  # fmt: skip


def events_of(items: pl.DataFrame, users: int, each: int, seed: int = 0) -> pl.DataFrame:
    """Return the events of `users` shoppers, about `each` of everyone, over 120 days."""
    random = np.random.default_rng(seed + 1)
    category = items["category"].rank("dense").to_numpy().astype(np.int64) - 1
    order = np.argsort(category, kind="stable")
    sizes = np.bincount(category)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    counts = random.poisson(each, users).clip(3)
    user = np.repeat(np.arange(users), counts)
    liked = _zipf(random, len(sizes), 0.5, users * _LIKES).reshape(users, _LIKES)
    chosen = liked[user, random.integers(0, _LIKES, len(user))]
    strays = random.random(len(user)) < _STRAYS
    chosen = np.where(strays, _zipf(random, len(sizes), 0.6, len(user)), chosen)
    # The place in the category, by a continuous Zipf law: size^u is dense near 1.
    place = (sizes[chosen] ** random.random(len(user)) - 1).astype(np.int64)
    item = order[starts[chosen] + np.minimum(place, sizes[chosen] - 1)]
    seconds = np.sort(random.random(len(user))) * _DAYS * 86_400
    seconds = random.permutation(seconds)
    kind = random.choice(len(_TYPES), len(user), p=(0.5, 0.2, 0.1, 0.2))
    moved = pl.Series("time", (seconds * 1e6).astype(np.int64) + int(_START.timestamp() * 1e6))
    return pl.DataFrame(
        {
            "user_id": pl.Series(user).cast(pl.String),
            "item_id": items["item_id"].gather(item),
            "type": pl.Series(_TYPES).gather(kind),
            "time": moved.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        }
    )


def write_cheap_vectors(items: pl.DataFrame, cache: Path = Path(".cache")) -> None:
    """Leave text vectors where training looks for them: the mean of each text's words.

    The encoder takes a millisecond a text, a quarter of an hour for a million; their
    words are encoded in a minute. Queries are still encoded for what they are.
    """
    columns = ("title", "brand", "category", "domain", "text")
    texts = sorted({item_text(*row) for row in items.select(columns).iter_rows()})
    split = [text.replace(",", " ").split() for text in texts]
    words = sorted({word for text in split for word in text})
    directory = prepare_encoder(cache)
    known = encode_texts(words, directory=directory)
    number = {word: at for at, word in enumerate(words)}
    keep_vectors(texts, _means(split, number, known), directory)


def _means(texts: list[list[str]], number: dict[str, int], known: Scores) -> Scores:
    """Return the unit mean of each text's words, float32 [n, d]."""
    means = np.zeros((len(texts), known.shape[1]), np.float32)
    flat = np.array([number[word] for text in texts for word in text])
    lengths = np.array([len(text) for text in texts])
    row = np.repeat(np.arange(len(texts)), lengths)
    for start in range(0, len(flat), 100_000):
        np.add.at(means, row[start : start + 100_000], known[flat[start : start + 100_000]])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return means


def _zipf(random: np.random.Generator, kinds: int, exponent: float, size: int) -> Ints:
    weight = 1 / np.arange(1, kinds + 1) ** exponent
    found: Ints = np.searchsorted(np.cumsum(weight / weight.sum()), random.random(size))
    return np.minimum(found, kinds - 1)


def _words(count: int, syllables: int) -> list[str]:
    """Return distinct made-up words: numbers, spelled in syllables."""
    base = len(_SYLLABLES)
    return [
        "".join(_SYLLABLES[(n * 7_919 // base**place + place) % base] for place in range(syllables))
        + (str(n // base**syllables) if n >= base**syllables else "")
        for n in range(count)
    ]


def main() -> int:
    """Run as a module; see above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=folder)
    parser.add_argument("--items", type=count, default=100_000)
    parser.add_argument("--users", type=count, default=20_000)
    parser.add_argument("--events", type=count, default=40, help="of each user, on average")
    parser.add_argument("--seed", type=count_or_0, default=0)
    arguments = parser.parse_args()
    sizes = (arguments.users, arguments.events)
    return ended(lambda: write(arguments.directory, arguments.items, sizes, arguments.seed))


def write(directory: Path, items: int, events: tuple[int, int], seed: int) -> None:
    """Write the tables of a shop; `events` are (users, events of each).

    Raises UserError where they do not fit on the disk.
    """
    directory.mkdir(parents=True, exist_ok=True)
    frame = items_of(items, seed)
    _keep(frame, directory / "items.parquet")
    _keep(events_of(frame, *events, seed), directory / "events.parquet")


def _keep(table: pl.DataFrame, path: Path) -> None:
    try:
        with whole(path) as draft:
            table.write_parquet(draft)
    except (OSError, pl.exceptions.PolarsError) as error:  # polars' own for a full disk
        raise UserError(
            f"{path}: cannot be written ({error}); make room there, or choose another place"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
