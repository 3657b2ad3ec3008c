"""Step 5: one query, two tastes."""

from collections import defaultdict
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cli.demo.shoppers import Lover
from cli.demo.walk import Walk, require
from cli.output import table
from cli.rankings import named
from plait.v1 import types_pb2 as t

QUERY = "yogurt"


def search(walk: Walk) -> None:
    """Step 5: the same search for two households that buy different brands."""
    first, second = walk.cast.lovers
    walk.heading(
        5,
        f'the search "{QUERY}" for two households',
        "Look for: each finds what it likes further up. In brackets: times bought before.",
    )
    for lover in (first, second):
        walk.say(
            f"  Household {lover.user_id}: {lover.of_provider} of its {lover.bought} {QUERY} "
            f"purchases were {lover.label}."
        )
    pages = [walk.search(lover.user_id, QUERY).items for lover in (first, second)]
    walk.out.print(_side_by_side((first, second), pages))
    for lover, page in zip((first, second), pages, strict=True):
        walk.say(_why(lover, page))
    require(all(len(page) > 0 for page in pages), f"the search {QUERY!r} found nothing")
    orders = [[item.item_id for item in page] for page in pages]
    require(orders[0] != orders[1], "both households got the same order")
    for lover, own, other in ((first, pages[0], pages[1]), (second, pages[1], pages[0])):
        here, there = _favoured(lover, own), _favoured(lover, other)
        require(
            here > there,
            f"{lover.label} stands no higher for household {lover.user_id}, which buys it",
        )


def _side_by_side(lovers: tuple[Lover, Lover], pages: Sequence[Sequence[t.RankedItem]]) -> Table:
    made = table(">#", *(f"Household {lover.user_id}" for lover in lovers))
    for place in range(max(len(page) for page in pages)):
        cells = [
            _cell(lover, page[place]) if place < len(page) else Text()
            for lover, page in zip(lovers, pages, strict=True)
        ]
        made.add_row(str(place + 1), *cells)
    return made


def _cell(lover: Lover, item: t.RankedItem) -> Text:
    times = lover.counts.get(item.item_id, 0)
    return Text.assemble(named(item), " ", (f"({times})", "green")) if times else named(item)


def _favoured(lover: Lover, page: Sequence[t.RankedItem]) -> float:
    """Weigh the places that the household's provider holds; higher places weigh more."""
    return sum(1 / (1 + n) for n, item in enumerate(page) if item.item.provider == lover.provider)


def _why(lover: Lover, page: Sequence[t.RankedItem]) -> str:
    """Say which models and adjustments made the page, on average."""
    shares: dict[str, float] = defaultdict(float)
    terms: dict[str, float] = defaultdict(float)
    for item in page:
        for part in item.explanation.contributions:
            shares[part.source] += part.share / max(len(page), 1)
        for term in item.explanation.adjustments:
            terms[term.name] += term.value / max(len(page), 1)
    models = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    added = ", ".join(f"{name} {value:+.3f}" for name, value in terms.items() if abs(value) >= 5e-4)
    text = f"  Why, household {lover.user_id}: text says what matches, the others what it likes: "
    return text + models + (f"; added on average: {added}." if added else ".")
