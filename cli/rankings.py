"""Rankings as tables: what is shown, why, and who answered."""

from collections.abc import Sequence
from typing import Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.output import counted, money, table
from plait.v1 import types_pb2 as t


class Ranking(Protocol):
    """What the answers of Recommend, Search and Rank have in common."""

    @property
    def items(self) -> Sequence[t.RankedItem]: ...  # noqa: D102
    @property
    def sources(self) -> Sequence[t.SourceStatus]: ...  # noqa: D102
    @property
    def coverage(self) -> t.Coverage: ...  # noqa: D102
    @property
    def dropped(self) -> Sequence[t.DroppedItem]: ...  # noqa: D102
    @property
    def unknown_item_count(self) -> int: ...  # noqa: D102


def ranking_view(ranking: Ranking, *, explain: bool) -> Group:
    """Return a ranking with the line that says how complete it is."""
    parts: list[RenderableType] = [items_table(ranking.items, explain=explain)]
    if not ranking.items:
        parts = [Text("Nothing to show: nothing was found, or the rules left no item of it.")]
    parts.append(coverage_line(ranking))
    if ranking.unknown_item_count:
        count = ranking.unknown_item_count
        parts.append(Text(f"The catalogue does not know {count} of the items in the request."))
    if explain and ranking.dropped:
        parts.append(Text(dropped_line(ranking.dropped)))
    return Group(*parts)


def items_table(items: Sequence[t.RankedItem], *, explain: bool) -> Table:
    """Return one line per item; `explain` adds each model's share and the reason."""
    if not explain:
        made = table(">#", "Item", "Product", "Category", ">Price", ">Score")
        for ranked in items:
            made.add_row(
                str(ranked.position),
                ranked.item_id,
                title(ranked),
                category(ranked),
                price(ranked),
                f"{ranked.score:.3f}",
            )
        return made
    sources = source_names(items)
    made = table(">#", "Product", *(f">{name}" for name in sources), ">Score", "Why")
    made.caption = "Under each model: its share of the item's score, in percent."
    made.caption_justify = "left"
    for ranked in items:
        shares = {c.source: c.share for c in ranked.explanation.contributions}
        made.add_row(
            str(ranked.position),
            named(ranked),
            *(percent(shares.get(name)) for name in sources),
            f"{ranked.score:.3f}",
            why(ranked.explanation),
        )
    return made


def source_names(items: Sequence[t.RankedItem]) -> list[str]:
    """Return the sources that explanations speak of, in their order of appearance."""
    names = (c.source for item in items for c in item.explanation.contributions)
    return list(dict.fromkeys(names))


def title(ranked: t.RankedItem) -> str:
    """Return an item's title, its id where the catalogue lacks it."""
    return ranked.item.title or f"item {ranked.item_id}"


def named(ranked: t.RankedItem) -> Text:
    """Return title and id: products of one title differ only there."""
    if not ranked.item.title:
        return Text(title(ranked))
    return Text.assemble(title(ranked), " ", (ranked.item_id, "dim"))


def category(ranked: t.RankedItem) -> str:
    """Return where an item belongs, as shortly as it can be said."""
    return ranked.item.category or ranked.item.domain or "-"


def price(ranked: t.RankedItem) -> str:
    """Return the price of an item, "-" if it is unknown."""
    return money(ranked.item.price) if ranked.item.HasField("price") else "-"


def percent(share: float | None) -> str:
    """Return a share in whole percent, "-" for none."""
    return "-" if share is None else f"{100 * share:.0f}"


def why(explanation: t.Explanation) -> str:
    """Return the reason and, where rules fired, which."""
    return "; ".join(part for part in (explanation.reason, ", ".join(explanation.rules)) if part)


def outcome(status: t.SourceStatus) -> str:
    """Return how a source did, as one lower-case word."""
    return t.SourceOutcome.Name(status.outcome).removeprefix("SOURCE_OUTCOME_").lower()


def coverage_line(ranking: Ranking) -> Text:
    """Say which sources answered, how fast, and which are missing."""
    coverage = ranking.coverage
    line = Text(f"{coverage.answered} of {counted(coverage.asked, 'model')} answered")
    for status in ranking.sources:
        line.append("; ")
        line.append(_status(status), style=_STYLES.get(status.outcome, "yellow"))
    if coverage.fallback and ranking.items:
        line.append(
            "; no model named any of these: they are what sells and what the shopper does again",
            style="yellow",
        )
    if coverage.history_unread:
        line.append("; the shopper's events could not be read in time", style="yellow")
    return line


def missing(ranking: Ranking) -> list[str]:
    """Return the sources that were asked and did not help, as "name (outcome)"."""
    return [f"{s.source} ({outcome(s)})" for s in ranking.sources if s.outcome not in _FINE]


def dropped_line(dropped: Sequence[t.DroppedItem]) -> str:
    """Count the dropped candidates by reason."""
    counts: dict[str, int] = {}
    for item in dropped:
        counts[item.reason] = counts.get(item.reason, 0) + 1
    return "Left out: " + ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _status(status: t.SourceStatus) -> str:
    if status.outcome == t.SOURCE_OUTCOME_OK:
        version = f" v{status.model_version}" if status.model_version else ""
        return f"{status.source}{version} {status.latency_ms:.1f} ms"
    detail = f" ({status.detail})" if status.detail else ""
    return f"{status.source} {outcome(status).upper()}{detail}"


_STYLES = {t.SOURCE_OUTCOME_OK: "green", t.SOURCE_OUTCOME_SKIPPED: "dim"}
_FINE = (t.SOURCE_OUTCOME_OK, t.SOURCE_OUTCOME_SKIPPED)
