"""`plait recommend` and `plait similar`: items for a surface."""

from typing import Any

import click

from cli.client import Gateway
from cli.options import (
    example,
    gateway_options,
    page_options,
    rule_options,
    rules,
    shopper,
    shopper_options,
)
from cli.output import console, print_json
from cli.rankings import ranking_view
from plait.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from plait.v1.types_pb2 import Surface

SURFACES = ("home", "cart", "session", "item")


@click.command(
    epilog=example(
        "plait recommend 718 --explain",
        "plait recommend 718 --surface cart --item 1029743 --item 995242",
        "plait recommend somebody-new --event view:1029743 --event cart:995242",
    )
)
@click.argument("user")
@click.option("--surface", type=click.Choice(SURFACES), default="home", show_default=True)
@click.option("--item", "items", multiple=True, help="What a cart holds, or the item looked at.")
@click.option("--diversity", type=float, help="0 relevance only, 1 variety only.")
@shopper_options
@page_options
@rule_options
@gateway_options
def recommend_command(user: str, **options: Any) -> None:
    """Recommend items to USER ("" for an anonymous shopper)."""
    request = RecommendRequest(
        shopper=shopper(user, options),
        surface=Surface.Value(f"SURFACE_{options['surface'].upper()}"),
        item_ids=options["items"],
        diversity=options["diversity"],
    )
    _show(request, options)


@click.command(epilog=example("plait similar 1029743", "plait similar 1029743 --user 718 --json"))
@click.argument("item")
@click.option("--user", default="", help="Order them for this shopper.")
@shopper_options
@page_options
@rule_options
@gateway_options
def similar_command(item: str, user: str, **options: Any) -> None:
    """Show items similar to ITEM."""
    request = RecommendRequest(
        shopper=shopper(user, options),
        surface=Surface.Value("SURFACE_ITEM"),
        item_ids=[item],
    )
    _show(request, options)


def _show(request: RecommendRequest, options: dict[str, Any]) -> None:
    request.page_size = options["page_size"]
    request.page_token = options["page_token"]
    request.explain = options["explain"]
    request.rules.CopyFrom(rules(options))
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        answer: RecommendResponse = gateway.call(gateway.recommendations.Recommend, request)
    if options["as_json"]:
        print_json(answer)
        return
    out = console()
    out.print(ranking_view(answer, explain=options["explain"]))
    if answer.next_page_token:
        out.print(f"More: --page-token {answer.next_page_token}", style="dim", soft_wrap=True)
