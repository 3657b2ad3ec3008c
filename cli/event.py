"""`plait event`: record what a shopper did."""

from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp

from cli.client import Gateway
from cli.options import EVENT_TYPES, event_type, example, gateway_options
from cli.output import console, counted, print_json
from plait.v1.event_service_pb2 import RecordEventsRequest, RecordEventsResponse
from plait.v1.types_pb2 import Event


@click.command(
    epilog=example(
        "plait event 718 purchase 1029743",
        "plait event 718 view 995242 1082185 --market 367",
        "plait event 718 search --query yogurt",
    )
)
@click.argument("user")
@click.argument("kind", metavar="TYPE", type=click.Choice(EVENT_TYPES, case_sensitive=False))
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@click.option("--market", default="", help="Market whose trends the event counts for.")
@click.option("--price", type=float, help="Price paid for one unit, in the catalogue's currency.")
@click.option("--quantity", type=float, default=0.0, help="Units; 1 if not given.")
@click.option("--query", default="", help="What was searched for before.")
@click.option("--time", "when", metavar="RFC3339", help="When; now if not given.")
@click.option("--ranking", "ranking_id", default="", help="Id of the ranking that showed it.")
@click.option("--id", "event_id", default="", help="Makes a repetition harmless.")
@gateway_options
def event_command(user: str, kind: str, items: tuple[str, ...], **options: Any) -> None:
    """Record that USER did TYPE to one or more ITEMs; it counts in the next answer."""
    if not items and kind != "search":
        raise click.UsageError(f"a {kind} is about an item: plait event {user} {kind} ITEM")
    if not items and not options["query"].strip():
        raise click.UsageError(f"say what was searched for: plait event {user} search --query TEXT")
    if options["event_id"] and len(items) > 1:
        raise click.UsageError("--id names one event: give it one ITEM")
    events = [_event(user, kind, item, options) for item in items or ("",)]
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        answer: RecordEventsResponse = gateway.call(
            gateway.events.RecordEvents, RecordEventsRequest(events=events)
        )
    if options["as_json"]:
        print_json(answer)
        return
    line = f"Recorded {answer.recorded_count} of {counted(len(events), 'event')}"
    if answer.duplicate_count:
        line += f"; {answer.duplicate_count} had been recorded before"
    if answer.unknown_item_count:
        line += f"; {answer.unknown_item_count} about items the catalogue does not have"
    console().print(line)


def _event(user: str, kind: str, item: str, options: dict[str, Any]) -> Event:
    made = Event(
        event_id=options["event_id"],
        user_id=user,
        item_id=item,
        type=event_type(kind),
        quantity=options["quantity"],
        price=options["price"],
        market=options["market"],
        query=options["query"],
        ranking_id=options["ranking_id"],
    )
    if options["when"]:
        made.event_time.CopyFrom(_time(options["when"]))
    return made


def _time(text: str) -> Timestamp:
    stamp = Timestamp()
    try:
        stamp.FromJsonString(text)
    except ValueError:
        raise click.BadParameter(
            f"--time {text!r} is not RFC 3339, for example 2025-11-03T09:30:00Z"
        ) from None
    return stamp
