"""Who the demo is about, chosen by what the data says, so that it works on any dataset.

Nothing is drawn at random and no id is written down here: the same dataset gives
the same households and products.
"""

from dataclasses import dataclass

import polars as pl

from cli.failures import UserError
from models.data.dataset import Dataset

# A taste that sets apart: bought by at most this part of the households.
_DISTINCT = 0.25
_THEME_ITEMS = 5


@dataclass(frozen=True, slots=True)
class Product:
    """One item as the demo speaks of it."""

    item_id: str
    title: str
    category: str


@dataclass(frozen=True, slots=True)
class Lover:
    """A household that buys one thing from one provider."""

    user_id: str
    provider: str
    label: str  # how products of that provider are marked in their titles
    bought: int  # purchases of the thing
    of_provider: int  # of these, from the provider
    counts: dict[str, int]  # item id -> purchases


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody and everything in the seven steps."""

    household: str
    market: str
    last_bought: tuple[Product, ...]
    purchase: Product  # of a category the household never bought
    newcomer: tuple[Product, ...]  # three items of one theme
    similar_to: Product
    cart: tuple[Product, ...]
    lovers: tuple[Lover, Lover]
    users: tuple[str, ...]  # households for traffic


def choose(dataset: Dataset, word: str = "yogurt") -> Cast:
    """Choose the cast; raises UserError where the data cannot show what the demo shows."""
    facts = dataset.items.select("item_key", "item_id", "title", "category", "domain", "provider")
    lines = dataset.events.join(facts, on="item_key", how="left", maintain_order="left")
    themes = _themes(lines)
    if len(themes) < 2:
        raise UserError(f"{dataset.path}: too few products for the demo; import the whole dataset")
    household = _household(lines, themes[:2])
    own = lines.filter(pl.col("user_id") == household).sort("order")
    last = own.tail(60).unique("item_id", keep="last", maintain_order=True).tail(5)
    return Cast(
        household=household,
        market=str(own["market"][-1]),
        last_bought=tuple(_products(last)[::-1]),
        purchase=_most_bought(lines.filter(pl.col("category") == themes[1]), 1)[0],
        newcomer=tuple(_most_bought(lines.filter(pl.col("category") == themes[0]), 3)),
        similar_to=_named(lines, "spaghetti"),
        cart=(_named(lines, "spaghetti"), _named(lines, "pasta sauce"), _named(lines, "bread")),
        lovers=_lovers(lines, word),
        users=tuple(lines["user_id"].unique().sort().head(400).to_list()),
    )


def _themes(lines: pl.DataFrame) -> list[str]:
    """Return categories that few buy, but those few often; the most loyal first."""
    households = lines["user_id"].n_unique()
    found = (
        lines.group_by("category")
        .agg(
            buyers=pl.col("user_id").n_unique(),
            items=pl.col("item_id").n_unique(),
            loyalty=pl.len() / pl.col("user_id").n_unique(),
        )
        .filter(
            (pl.col("buyers") <= _DISTINCT * households)
            & (pl.col("buyers") >= 0.02 * households)
            & (pl.col("items") >= _THEME_ITEMS)
            & (pl.col("category") != "")
        )
        .sort("loyalty", "category", descending=[True, False])
    )
    return found["category"].to_list()


def _household(lines: pl.DataFrame, themes: list[str]) -> str:
    """Return a household with broad taste and a usual number of purchases, none from the themes."""
    buyers = lines.filter(pl.col("category").is_in(themes)).select("user_id").unique()
    found = (
        lines.join(buyers, on="user_id", how="anti")
        .group_by("user_id")
        .agg(domains=pl.col("domain").n_unique(), n=pl.len())
        .filter(pl.col("domains") >= pl.col("domains").median())
        .sort((pl.col("n") - pl.col("n").median()).abs(), "user_id")
    )
    if not found.height:
        raise UserError("every household buys everything: no household suits the demo")
    return str(found["user_id"][0])


def _lovers(lines: pl.DataFrame, word: str) -> tuple[Lover, Lover]:
    """Return the two most faithful buyers of a thing, faithful to different providers."""
    thing = lines.filter(pl.col("title").str.to_lowercase().str.contains(word, literal=True))
    ranked = (
        thing.group_by("user_id", "provider")
        .agg(of=pl.len())
        .with_columns(bought=pl.col("of").sum().over("user_id"))
        .filter(pl.col("of") >= 0.8 * pl.col("bought"))
        .sort("of", "user_id", descending=[True, False])
    )
    best = ranked.unique("provider", keep="first", maintain_order=True)
    if best.height < 2:
        raise UserError(f"no two households differ in which {word} they buy: use more of the data")
    first, second = (
        _lover(thing, *row) for row in best.select("user_id", "provider", "bought", "of").rows()[:2]
    )
    return first, second


def _lover(thing: pl.DataFrame, user: str, provider: str, bought: int, of: int) -> Lover:
    counts = thing.filter(pl.col("user_id") == user).group_by("item_id").len()
    title = thing.filter(pl.col("provider") == provider)["title"][0]
    label = str(title).rpartition(", ")[2]
    return Lover(user, provider, label, bought, of, {str(i): int(n) for i, n in counts.rows()})


def _named(lines: pl.DataFrame, word: str) -> Product:
    """Return the most bought item with a word in its title, or else the most bought of all."""
    title = pl.col("title").str.to_lowercase().str.contains(word, literal=True)
    found = lines.filter(title)
    return _most_bought(found if found.height else lines, 1)[0]


def _most_bought(lines: pl.DataFrame, count: int) -> list[Product]:
    ranked = (
        lines.group_by("item_id", "title", "category")
        .len()
        .sort("len", "item_id", descending=[True, False])
    )
    return _products(ranked.head(count))


def _products(rows: pl.DataFrame) -> list[Product]:
    return [Product(*row) for row in rows.select("item_id", "title", "category").rows()]
