"""Writes as bytes of the journal, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.message import DecodeError

from gateway.api.read import read_item
from gateway.api.write import write_item
from gateway.types import Event, EventType, Item
from plait.v1 import journal_pb2 as pb
from services.runtime.errors import InvalidArgument


class NotUnderstood(ValueError):
    """An entry that this release cannot read."""


@dataclass(frozen=True, slots=True)
class Events:
    """Events that were recorded."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """Items that were added or replaced."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Deletions:
    """Keys of items that were removed."""

    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A shopper of whom everything is deleted."""

    user_id: str


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What is rolled out to whom, as gateway/rollouts/record.py writes it down."""

    record: str


Change: TypeAlias = Items | Deletions | Forgotten | Rollouts
Write: TypeAlias = Events | Change


def encode(write: Write) -> bytes:
    """Return the entry of a write."""
    entry = pb.JournalEntry()
    match write:
        case Events(events):
            entry.events.events.extend(map(_event_message, events))
        case Items(items):
            for item in items:
                write_item(entry.items.items.add(), item)
        case Deletions(keys):
            entry.deletions.item_keys.extend(keys)
        case Forgotten(user_id):
            entry.forgotten.user_id = user_id
        case Rollouts(record):
            entry.rollouts.record = record
    return entry.SerializeToString()


def decode(raw: bytes) -> Write:
    """Read an entry; raises NotUnderstood."""
    try:
        entry = pb.JournalEntry.FromString(raw)
        match entry.WhichOneof("write"):
            case "events":
                return Events(_events(entry.events.events))
            case "items":
                return Items(tuple(map(read_item, entry.items.items)))
            case "deletions":
                return Deletions(tuple(entry.deletions.item_keys))
            case "forgotten":
                return Forgotten(entry.forgotten.user_id)
            case "rollouts":
                return Rollouts(entry.rollouts.record)
    except (DecodeError, InvalidArgument, ValueError) as error:
        raise NotUnderstood(str(error)) from None
    raise NotUnderstood("a write of a kind that this release does not know")


def _event_message(event: Event) -> pb.JournalEvent:
    return pb.JournalEvent(
        user_id=event.user_id,
        item_key=event.key,
        type=int(event.type),
        time_ms=event.time_ms,
        event_id=event.event_id,
        quantity=event.quantity,
        price=event.price,
        market=event.market,
        query=event.query,
        ranking_id=event.ranking_id,
    )


def _events(messages: Sequence[pb.JournalEvent]) -> tuple[Event, ...]:
    return tuple(
        Event(
            user_id=message.user_id,
            key=message.item_key,
            type=EventType(message.type),
            time_ms=message.time_ms,
            event_id=message.event_id,
            quantity=message.quantity,
            price=message.price if message.HasField("price") else None,
            market=message.market,
            query=message.query,
            ranking_id=message.ranking_id,
        )
        for message in messages
    )
