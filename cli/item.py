"""`plait item`: read, write and delete what the shop sells."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from google.protobuf import json_format

from cli.client import Gateway
from cli.failures import UserError
from cli.options import example, gateway_options
from cli.output import console, money, print_json, table
from plait.v1.catalog_service_pb2 import (
    DeleteItemsRequest,
    GetItemRequest,
    UpsertItemsRequest,
    UpsertItemsResponse,
)
from plait.v1.types_pb2 import Item

# Of one call: what the API allows, and half of the message a gateway accepts as it is delivered.
_MOST_ITEMS = 1000
_MOST_BYTES = 8 << 20


@click.group(epilog=example("plait item get 1029743"))
def item_command() -> None:
    """Read, write and delete items of the catalogue."""


@item_command.command("get", epilog=example("plait item get 1029743 --json"))
@click.argument("item_id", metavar="ITEM")
@gateway_options
def get(item_id: str, **options: Any) -> None:
    """Show ITEM as the catalogue has it."""
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        item = gateway.call(gateway.catalog.GetItem, GetItemRequest(item_id=item_id)).item
    if options["as_json"]:
        print_json(item)
        return
    made = table("Field", "Value")
    for field, value in _fields(item):
        made.add_row(field, value)
    console().print(made)


@item_command.command(
    "upsert",
    epilog=example(
        "plait item upsert new-42 --title 'Skyr, vanilla' --domain GROCERY --price 1.99",
        "plait item upsert --file items.jsonl",
    ),
)
@click.argument("item_id", metavar="[ITEM]", required=False)
@click.option("--title", default="")
@click.option("--text", default="", help="Description, ingredients, specification.")
@click.option("--domain", default="", help="Department or product line.")
@click.option("--category", default="")
@click.option("--brand", default="")
@click.option("--provider", default="", help="Who sells it.")
@click.option("--price", type=float)
@click.option("--available/--unavailable", default=None)
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE")
@click.option("--file", "path", help="Items as JSON, one a line; - is standard input.")
@gateway_options
def upsert(item_id: str | None, path: str | None, **options: Any) -> None:
    """Add or replace ITEM, or all items of a file."""
    if (item_id is None) == (path is None):
        raise click.UsageError("give either ITEM with its fields, or --file FILE")
    items = _read_items(path) if path else [_item(item_id or "", options)]
    total = UpsertItemsResponse()
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        for block in _blocks(items):
            try:
                answer = gateway.call(gateway.catalog.UpsertItems, UpsertItemsRequest(items=block))
            except UserError as error:
                if not (done := total.created_count + total.updated_count):
                    raise
                said = f"{error.message} ({done} of {len(items)} items were stored before)"
                raise type(error)(said) from None
            total.created_count += answer.created_count
            total.updated_count += answer.updated_count
            total.embedded_count += answer.embedded_count
    if options["as_json"]:
        print_json(total)
        return
    console().print(
        f"{total.created_count} created, {total.updated_count} updated; "
        f"{total.embedded_count} new to every model, reachable by text and attributes"
    )


@item_command.command("delete", epilog=example("plait item delete new-42"))
@click.argument("item_ids", nargs=-1, required=True, metavar="ITEM...")
@gateway_options
def delete(item_ids: tuple[str, ...], **options: Any) -> None:
    """Delete ITEMs; they are never shown again."""
    with Gateway(options["gateway"], options["timeout"]) as gateway:
        answer = gateway.call(gateway.catalog.DeleteItems, DeleteItemsRequest(item_ids=item_ids))
    if options["as_json"]:
        print_json(answer)
        return
    console().print(f"{answer.deleted_count} deleted, {answer.missing_count} not in the catalogue")


def _item(item_id: str, options: dict[str, Any]) -> Item:
    pairs = [text.partition("=") for text in options["attributes"]]
    if any(not sign or not name for name, sign, _ in pairs):
        raise click.BadParameter("--attribute wants NAME=VALUE, for example size='6 OZ'")
    return Item(
        item_id=item_id,
        title=options["title"],
        text=options["text"],
        domain=options["domain"],
        category=options["category"],
        brand=options["brand"],
        provider=options["provider"],
        price=options["price"],
        available=options["available"],
        attributes={name: value for name, _, value in pairs},
    )


def _read_items(path: str) -> list[Item]:
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        # JSON is UTF-8 whatever the locale says, and some editors put a mark before it.
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    items = []
    # Not splitlines: JSON may hold what Unicode calls a line's end, as in a title from a page.
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            if line.strip():
                items.append(json_format.Parse(line, Item()))
        except json_format.ParseError as error:
            raise UserError(f"{path}, line {number}: not an item ({error})") from None
    return items


def _blocks(items: list[Item]) -> Iterator[list[Item]]:
    """Cut items into what one call takes."""
    block: list[Item] = []
    size = 0
    for item in items:
        if block and (len(block) == _MOST_ITEMS or size + item.ByteSize() > _MOST_BYTES):
            yield block
            block, size = [], 0
        block.append(item)
        size += item.ByteSize()
    if block:
        yield block


def _fields(item: Item) -> list[tuple[str, str]]:
    known = [
        ("id", item.item_id),
        ("key", str(item.item_key)),
        ("title", item.title),
        ("text", item.text),
        ("domain", item.domain),
        ("category", item.category),
        ("brand", item.brand),
        ("provider", item.provider),
        ("price", money(item.price) if item.HasField("price") else "unknown"),
        ("available", "no" if item.HasField("available") and not item.available else "yes"),
        *sorted(item.attributes.items()),
        ("image vector", f"{len(item.image_vector)} numbers" if item.image_vector else ""),
    ]
    return [(name, value) for name, value in known if value]
