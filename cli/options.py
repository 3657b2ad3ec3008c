"""Options that several commands share, and the messages they become."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from cli.client import DEFAULT_GATEWAY, DEFAULT_TIMEOUT
from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import Shopper

F = TypeVar("F", bound=Callable[..., Any])
EVENT_TYPES = tuple(
    name.removeprefix("EVENT_TYPE_").lower()
    for name, number in t.EventType.items()
    if number != t.EVENT_TYPE_UNSPECIFIED
)


class Within(click.FloatRange):
    """A number within bounds: click itself takes "nan" to lie within any."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number; raises click.BadParameter."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not in the range {self._describe_range()}.", param, ctx)
        return found


# What a call may take: a deadline further off than a day overflows in gRPC, which then has passed.
TIMEOUT = Within(min=0, max=86_400, min_open=True)
# What every generator of random numbers takes, with something added to it too.
SEEDS = click.IntRange(min=0, max=2**31 - 1)
_BOOST = re.compile(r"^(item|category|domain|brand)=(.+):([-+]?[\d.]+)$")


def example(*lines: str) -> str:
    """Return the end of a --help text that shows how the command is used."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Apply several decorators; the first is listed first in --help."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def gateway_options(function: F) -> F:
    """Add --gateway, --timeout and --json."""
    return together(
        click.option("--gateway", default=DEFAULT_GATEWAY, show_default=True, metavar="HOST:PORT"),
        click.option(
            "--timeout", default=DEFAULT_TIMEOUT, show_default=True, metavar="SECONDS",
            type=TIMEOUT, help="Deadline of the call.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines."),
    )(function)  # fmt: skip


def event_option(function: F) -> F:
    """Add --event, what the gateway may not have been told yet."""
    return click.option(
        "--event", "events", multiple=True, metavar="TYPE:ITEM",
        help=f"What just happened, oldest first. Types: {', '.join(EVENT_TYPES)}.",
    )(function)  # fmt: skip


def shopper_options(function: F) -> F:
    """Add what is known about the shopper beside the user id."""
    return together(
        event_option,
        click.option("--market", default="", help="Market whose trends count."),
    )(function)  # fmt: skip


def page_options(function: F) -> F:
    """Add paging and --explain."""
    return together(
        click.option(
            "--page-size", default=10, show_default=True, type=click.IntRange(1, 200),
            help="Items on a page, 1 to 200.",
        ),
        click.option("--page-token", default="", help="From the previous page."),
        click.option("--explain", is_flag=True, help="Show each model's share, and a reason."),
    )(function)  # fmt: skip


def rule_options(function: F) -> F:
    """Add the rules of a request."""
    many: dict[str, Any] = {"multiple": True, "metavar": "NAME"}
    return together(
        click.option("--exclude", multiple=True, metavar="ITEM", help="Never show this item."),
        click.option("--exclude-purchased", is_flag=True, help="Leave out what was bought."),
        click.option("--include-unavailable", is_flag=True, help="Show what is out of stock too."),
        click.option("--category", help="Only this category.", **many),
        click.option("--domain", help="Only this domain.", **many),
        click.option("--brand", help="Only this brand.", **many),
        click.option("--min-price", type=float),
        click.option("--max-price", type=float),
        click.option(
            "--boost", multiple=True, metavar="KIND=NAME:WEIGHT",
            help="Add to the score of an item, category, domain or brand; negative demotes.",
        ),
        click.option("--pin", multiple=True, metavar="ITEM", help="Show first, in this order."),
        click.option("--bury", multiple=True, metavar="ITEM", help="Show last."),
    )(function)  # fmt: skip


def shopper(user: str, options: Mapping[str, Any]) -> Shopper:
    """Build the shopper of a request; raises click.BadParameter for a bad --event."""
    return Shopper(
        user_id=user,
        market=options["market"],
        events=[event(text) for text in options["events"]],
    )


def event(text: str) -> t.Event:
    """Read TYPE:ITEM; raises click.BadParameter."""
    kind, colon, item = text.partition(":")
    if not colon or not item:
        raise click.BadParameter(f"{text!r} is not TYPE:ITEM, for example view:1029743")
    return t.Event(type=event_type(kind), item_id=item)


def event_type(name: str) -> t.EventType.ValueType:
    """Return the event type of a word such as "purchase"; raises click.BadParameter."""
    if name.lower() not in EVENT_TYPES:
        raise click.BadParameter(f"{name!r} is no event type; there are {', '.join(EVENT_TYPES)}")
    return t.EventType.Value(f"EVENT_TYPE_{name.upper()}")


def rules(options: Mapping[str, Any]) -> t.Rules:
    """Build the rules of a request from the options of `rule_options`."""
    return t.Rules(
        exclude_item_ids=options["exclude"],
        exclude_purchased=options["exclude_purchased"],
        include_unavailable=options["include_unavailable"],
        min_price=options["min_price"],
        max_price=options["max_price"],
        categories=options["category"],
        domains=options["domain"],
        brands=options["brand"],
        boosts=[boost(text) for text in options["boost"]],
        pin_item_ids=options["pin"],
        bury_item_ids=options["bury"],
    )


def boost(text: str) -> t.Boost:
    """Read KIND=NAME:WEIGHT; raises click.BadParameter."""
    match = _BOOST.match(text)
    try:
        kind, name, weight = match.groups() if match else ("", "", "")
        number = float(weight)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not KIND=NAME:WEIGHT, for example category=YOGURT:0.5"
        ) from None
    made = t.Boost(weight=number)
    setattr(made, "item_id" if kind == "item" else kind, name)
    return made
