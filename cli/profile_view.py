"""A profile in words and one table: the answers first, the evidence below."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.output import counted, money, table
from plait.v1 import profile_service_pb2 as pb

# Of each attribute; --json has them all.
_SHOWN = 5
_CHEAP, _DEAR = 1 / 3, 2 / 3


def profile_view(profile: pb.Profile) -> Group | Text:
    """Return a profile as a person reads it."""
    if not profile.activity.event_count:
        return Text(f"Nothing is known of shopper {profile.user_id}: no event was recorded.")
    facts = Table.grid(padding=(0, 2))
    for name, words in _facts(profile):
        facts.add_row(Text(name, style="dim"), words)
    return Group(Text(f"Shopper {profile.user_id}", style="bold"), facts, _likes(profile))


def _facts(profile: pb.Profile) -> Iterator[tuple[str, str]]:
    activity = profile.activity
    yield "Comes", _comes(activity)
    yield "Buys", _buys(activity)
    if profile.HasField("price_level"):
        yield "Pays", _pays(profile.price_level)
    yield "Now", _now(profile)
    if profile.unknown_item_count:
        count = profile.unknown_item_count
        yield "Unknown", f"{_events(count)} about items that the catalogue does not have"
    if activity.truncated:
        yield "Older", f"events before {_day(activity.first_event_time)} were not read"


def _comes(activity: pb.Activity) -> str:
    words = (
        f"last {_ago(activity.last_event_time)}; {_events(activity.event_count_7_days)} in the "
        f"last 7 days, {activity.event_count_30_days:,} in the last 30, "
        f"{activity.event_count:,} since {_day(activity.first_event_time)}"
    )
    if activity.HasField("usual_days_between"):
        days = activity.usual_days_between
        often = "every day" if days <= 1 else f"every {days:g} days"
        words += f"; on {counted(activity.active_day_count, 'day')}, usually {often}"
    return words


def _buys(activity: pb.Activity) -> str:
    if not activity.purchase_count:
        return "nothing so far"
    return (
        f"last {_ago(activity.last_purchase_time)}; "
        f"{counted(activity.purchase_count_30_days, 'purchase')} in the last 30 days, "
        f"{activity.purchase_count:,} in all; {activity.repeat_share:.0%} of them of what had been "
        "bought before"
    )


def _pays(level: pb.PriceLevel) -> str:
    words = f"usually {money(level.usual_price)}"
    if level.low_price < level.high_price:
        words += f", half of it between {money(level.low_price)} and {money(level.high_price)}"
    if level.HasField("level"):
        side = (
            "cheap" if level.level < _CHEAP else "dear" if level.level > _DEAR else "middle-priced"
        )
        words += (
            f"; {side} for what it is, {level.level:.2f} where 0 is the cheapest of a "
            "category and 1 the dearest"
        )
    if level.basis == pb.PRICE_BASIS_INTEREST:
        words += " (prices of what was looked at: nothing was bought)"
    return words


def _now(profile: pb.Profile) -> str:
    if not profile.HasField("session"):
        return "not here"
    session = profile.session
    words = f"{_events(session.event_count)}, the first {_ago(session.start_time)}"
    found = session.categories.interests or session.domains.interests
    about = [f"{interest.name} {interest.share:.0%}" for interest in found[:_SHOWN]]
    return f"{words}, about {', '.join(about)}" if about else words


def _likes(profile: pb.Profile) -> Table:
    made = table("Likes", "", ">Share", ">Events", "Last")
    for title, interests in (
        ("Domains", profile.domains),
        ("Categories", profile.categories),
        ("Brands", profile.brands),
    ):
        shown = interests.interests[:_SHOWN]
        for number, one in enumerate(shown):
            made.add_row(
                "" if number else title,
                one.name,
                f"{one.share:.0%}",
                f"{one.event_count:,}",
                _ago(one.last_event_time),
            )
        others = interests.distinct_count - len(shown)
        if others:
            rest = 1 - sum(one.share for one in shown)
            made.add_row("", Text(counted(others, "other"), style="dim"), f"{rest:.0%}", "", "")
        made.add_section()
    made.caption = "Share of all that was done, by what it was and how long ago."
    return made


def _events(count: int) -> str:
    return counted(count, "event")


def _day(stamp: Timestamp) -> str:
    return stamp.ToDatetime(UTC).strftime("%Y-%m-%d")


def _ago(stamp: Timestamp) -> str:
    passed = max(datetime.now(UTC) - stamp.ToDatetime(UTC), timedelta())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        number = int(passed.total_seconds() // size)
        if number:
            return f"{counted(number, unit)} ago"
    return "just now"
