"""`plait search` and `plait rank`: an order for a query, and for candidates of one's own."""

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
from plait.v1.recommendation_service_pb2 import (
    RankRequest,
    RankResponse,
    SearchRequest,
    SearchResponse,
)


@click.command(
    epilog=example("plait search yogurt", 'plait search "greek yogurt" --user 718 --explain')
)
@click.argument("query")
@click.option("--user", default="", help="Order the answers for this shopper.")
@shopper_options
@page_options
@rule_options
@gateway_options
def search_command(query: str, user: str, **options: Any) -> None:
    """Find items for QUERY."""
    request = SearchRequest(
        shopper=shopper(user, options),
        query=query,
        page_size=options["page_size"],
        page_token=options["page_token"],
        rules=rules(options),
        explain=options["explain"],
    )
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        answer: SearchResponse = gateway.call(gateway.recommendations.Search, request)
    if options["as_json"]:
        print_json(answer)
        return
    out = console()
    out.print(ranking_view(answer, explain=options["explain"]))
    if answer.next_page_token:
        out.print(f"More: --page-token {answer.next_page_token}", style="dim", soft_wrap=True)


@click.command(epilog=example("plait rank 718 1029743 995242 1082185 --explain"))
@click.argument("user")
@click.argument("items", nargs=-1, required=True, metavar="ITEM...")
@click.option("--query", default="", help="Order with respect to a query as well.")
@click.option("--explain", is_flag=True, help="Show each model's share, and a reason.")
@shopper_options
@rule_options
@gateway_options
def rank_command(user: str, items: tuple[str, ...], **options: Any) -> None:
    """Put ITEMs of your own into the order USER would like."""
    request = RankRequest(
        shopper=shopper(user, options),
        item_ids=items,
        query=options["query"],
        rules=rules(options),
        explain=options["explain"],
    )
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        answer: RankResponse = gateway.call(gateway.recommendations.Rank, request)
    if options["as_json"]:
        print_json(answer)
        return
    console().print(ranking_view(answer, explain=options["explain"]))
