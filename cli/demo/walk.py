"""What every step of the demo has at hand, and how it speaks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.client import Gateway
from cli.demo.shoppers import Cast, Product
from cli.failures import UserError
from cli.output import heading, table
from cli.processes import Fleet
from cli.rankings import missing, named, title
from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import (
    RecommendRequest,
    RecommendResponse,
    SearchRequest,
    SearchResponse,
    Shopper,
)

PAGE = 10
_PATIENCE = 20.0


class DemoFailed(UserError):
    """A step did not show what it claims to show."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A running Plait, the people in it, and the console."""

    fleet: Fleet
    gateway: Gateway
    cast: Cast
    out: Console

    def heading(self, number: int, name: str, look_for: str) -> None:
        """Open a step: its name, and one sentence on what to look for."""
        self.out.print()
        self.out.rule(heading(f"{number} of 7: {name}"), align="left")
        self.out.print(look_for)

    def say(self, text: str) -> None:
        """Print one paragraph."""
        self.out.print(text)

    def home(self, user: str, *, explain: bool = False, new: bool = False) -> RecommendResponse:
        """Ask for a shopper's home ranking; `new`: only what the shopper never bought."""
        return self.recommend(
            RecommendRequest(
                shopper=Shopper(user_id=user, market=self.cast.market),
                surface=t.SURFACE_HOME,
                rules=t.Rules(exclude_purchased=new),
                explain=explain,
            )
        )

    def session(self, user: str) -> RecommendResponse:
        """Ask what a shopper may want to see next, from what this session did."""
        return self.recommend(
            RecommendRequest(
                shopper=Shopper(user_id=user, market=self.cast.market),
                surface=t.SURFACE_SESSION,
                explain=True,
            )
        )

    def settle(self) -> None:
        """Wait until all models take part in an answer: first calls are the slowest."""
        until = time.monotonic() + _PATIENCE
        while (answer := self.home(self.cast.household)).coverage.partial:
            names = ", ".join(missing(answer))
            require(time.monotonic() < until, f"missing after {_PATIENCE:.0f} s: {names}")
            time.sleep(0.1)

    def recommend(self, request: RecommendRequest) -> RecommendResponse:
        """Ask for a ranking of ten."""
        request.page_size = PAGE
        answer: RecommendResponse = self.gateway.call(
            self.gateway.recommendations.Recommend, request
        )
        return answer

    def search(self, user: str, query: str) -> SearchResponse:
        """Search for a shopper."""
        request = SearchRequest(
            shopper=Shopper(user_id=user), query=query, page_size=PAGE, explain=True
        )
        answer: SearchResponse = self.gateway.call(self.gateway.recommendations.Search, request)
        return answer


def require(condition: object, message: str) -> None:
    """Raise DemoFailed unless what a step claims is true."""
    if not condition:
        raise DemoFailed(f"The demo shows a defect: {message}")


def product(item: Product) -> str:
    """Return a product as it stands in a sentence."""
    return f"{item.title} ({item.item_id})"


def changes(before: Sequence[t.RankedItem], after: Sequence[t.RankedItem]) -> Table:
    """Compare two pages: where each item stood, and what became of it."""
    stood = {item.item_id: item.position for item in before}
    made = table(">#", "Product", ">Before", "Change", "Why")
    for item in after:
        was = stood.get(item.item_id)
        made.add_row(
            str(item.position),
            named(item),
            "-" if was is None else str(was),
            _change(was, item.position),
            item.explanation.reason,
        )
    now = {item.item_id for item in after}
    for item in before:
        if item.item_id not in now:
            made.add_row(
                "-",
                Text(title(item), style="dim"),
                str(item.position),
                Text("gone", style="red"),
                "",
            )
    return made


def changed(before: Sequence[t.RankedItem], after: Sequence[t.RankedItem]) -> int:
    """Count the items that are new on a page or stand elsewhere on it."""
    stood = {item.item_id: item.position for item in before}
    return sum(1 for item in after if stood.get(item.item_id) != item.position)


def _change(was: int | None, now: int) -> Text:
    if was is None:
        return Text("new", style="green")
    if was == now:
        return Text("same", style="dim")
    if now < was:
        return Text(f"up {was - now}", style="green")
    return Text(f"down {now - was}", style="yellow")
