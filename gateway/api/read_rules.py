"""The rules of a request, checked."""

from collections.abc import Sequence

from gateway.api import checks
from gateway.types import Boost, RuleSpec
from plait.v1 import types_pb2 as t
from services.runtime.errors import InvalidArgument

_MOST_ITEMS = 1_000
_MOST_NAMES = 200
_MOST_BOOSTS = 100
_NONE = RuleSpec()


def read_rules(rules: t.Rules) -> RuleSpec:
    """Read a request's rules; raises InvalidArgument naming the field."""
    if not rules.ByteSize():
        return _NONE
    low = checks.amount("rules.min_price", rules.min_price) if rules.HasField("min_price") else None
    high = (
        checks.amount("rules.max_price", rules.max_price) if rules.HasField("max_price") else None
    )
    if low is not None and high is not None and low > high:
        raise InvalidArgument("rules.min_price", f"{low!r} is above max_price, {high!r}")
    checks.count("rules.boosts", len(rules.boosts), _MOST_BOOSTS)
    return RuleSpec(
        exclude=checks.item_ids("rules.exclude_item_ids", rules.exclude_item_ids, _MOST_ITEMS),
        exclude_purchased=rules.exclude_purchased,
        include_unavailable=rules.include_unavailable,
        min_price=low,
        max_price=high,
        categories=_names("rules.categories", rules.categories),
        domains=_names("rules.domains", rules.domains),
        brands=_names("rules.brands", rules.brands),
        boosts=tuple(_boost(f"rules.boosts[{n}]", b) for n, b in enumerate(rules.boosts)),
        pin=checks.item_ids("rules.pin_item_ids", rules.pin_item_ids, _MOST_ITEMS),
        bury=checks.item_ids("rules.bury_item_ids", rules.bury_item_ids, _MOST_ITEMS),
    )


def _names(field: str, names: Sequence[str]) -> tuple[str, ...]:
    checks.count(field, len(names), _MOST_NAMES)
    for number, name in enumerate(names):
        checks.text(f"{field}[{number}]", name, checks.LONGEST_NAME, required=True)
    return tuple(names)


def _boost(field: str, boost: t.Boost) -> Boost:
    target = boost.WhichOneof("target")
    if target is None:
        raise InvalidArgument(f"{field}.target", "required: item_id, category, domain or brand")
    value = getattr(boost, target)
    if target == "item_id":
        kind, value = "item", checks.item_id(f"{field}.item_id", value)
    else:
        kind = target
        checks.text(f"{field}.{target}", value, checks.LONGEST_NAME, required=True)
    weight = checks.within(f"{field}.weight", boost.weight, -10, 10)
    return Boost(kind, value, weight)
