"""Profiles of shoppers as gRPC methods: sums and shares, never the events; and forgetting."""

# gRPC names the methods.
# ruff: noqa: N802

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from artifacts.price_level import Basis, PriceLevel
from artifacts.profiles import Activity, Interests, Tastes
from gateway.admission.lanes import PROFILES
from gateway.api.read import read_profile, read_user_id
from gateway.api.servicer import Parts, now_ms, time_limit
from gateway.fusion.types import Columns
from gateway.profiles import Portrait
from plait.v1 import profile_service_pb2 as pb

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_BASES = {basis: pb.PriceBasis.Value(f"PRICE_BASIS_{basis.value}") for basis in Basis}
_MOST_SHOWN = 10


class ProfileServicer:
    """Describes shoppers, and forgets them."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["ProfileService"]

    def __init__(self, parts: Callable[[], Parts]) -> None:
        self._parts = parts

    async def GetProfile(
        self, request: pb.GetProfileRequest, context: _Context
    ) -> pb.GetProfileResponse:
        """The profile of one shopper as of now."""
        parts = self._parts()
        async with parts.lanes.profiles.admitted(PROFILES, time_limit(context)):
            user_id, events = read_profile(request, now_ms())
            portrait = await parts.profiles.get(user_id, events)
        response = pb.GetProfileResponse()
        response.profile.user_id = user_id
        write_profile(response.profile, portrait)
        return response

    async def DeleteProfile(
        self, request: pb.DeleteProfileRequest, context: _Context
    ) -> pb.DeleteProfileResponse:
        """Forget a shopper for good."""
        parts = self._parts()
        user_id = read_user_id(request)
        async with parts.lanes.profiles.admitted(PROFILES, time_limit(context)) as visit:
            visit.note(None)  # the disk's time says nothing of how long a profile takes
            deleted = await parts.forgetter.forget(user_id)
        return pb.DeleteProfileResponse(
            deleted_event_count=deleted.events, deleted_exposure_count=deleted.exposures
        )


def write_profile(target: pb.Profile, portrait: Portrait) -> None:
    """Fill a profile into its message."""
    found, columns = portrait.profile, portrait.columns
    _write_activity(target.activity, found.activity)
    target.activity.truncated = portrait.truncated
    target.unknown_item_count = found.unknown_items
    _write_tastes(target, found.tastes, columns)
    if found.price_level is not None:
        _write_price_level(target.price_level, found.price_level)
    if found.session is not None:
        target.session.event_count = found.session.events
        target.session.start_time.FromMilliseconds(found.session.start_ms)
        _write_tastes(target.session, found.session.tastes, columns)


def _write_activity(target: pb.Activity, found: Activity) -> None:
    target.event_count = found.events
    target.event_count_7_days = found.events_7_days
    target.event_count_30_days = found.events_30_days
    target.purchase_count = found.purchases
    target.purchase_count_30_days = found.purchases_30_days
    _write_time(target.first_event_time, found.first_ms)
    _write_time(target.last_event_time, found.last_ms)
    _write_time(target.last_purchase_time, found.last_purchase_ms)
    target.active_day_count = found.active_days
    if found.days_between is not None:
        target.usual_days_between = found.days_between
    if found.repeat_share is not None:
        target.repeat_share = found.repeat_share


def _write_time(target: Timestamp, time_ms: int | None) -> None:
    if time_ms is not None:
        target.FromMilliseconds(time_ms)


def _write_tastes(target: pb.Profile | pb.SessionFocus, tastes: Tastes, columns: Columns) -> None:
    _write_interests(target.domains, tastes.domains, columns.domain_names)
    _write_interests(target.categories, tastes.categories, columns.category_names)
    _write_interests(target.brands, tastes.brands, columns.brand_names)


def _write_interests(target: pb.Interests, found: Interests, names: Sequence[str]) -> None:
    target.distinct_count = len(found.values)
    target.other_share = float(found.shares[_MOST_SHOWN:].sum())
    # Equal ones by name: numbers of names are others after a restart.
    called = [names[value] for value in found.values.tolist()]
    ordered = sorted(range(len(called)), key=lambda n: (-found.shares[n], called[n]))
    for number in ordered[:_MOST_SHOWN]:
        made = target.interests.add(
            name=called[number],
            share=float(found.shares[number]),
            event_count=int(found.counts[number]),
        )
        made.last_event_time.FromMilliseconds(int(found.last_ms[number]))


def _write_price_level(target: pb.PriceLevel, found: PriceLevel) -> None:
    target.basis = _BASES[found.basis]
    if found.level is not None:
        target.level = found.level
    target.low_price, target.usual_price, target.high_price = found.low, found.usual, found.high
    target.event_count = found.events
