"""A profile is read by a person: the answers in words, the evidence in one table."""

import json
import time
from typing import Any

import pytest

from plait.v1 import profile_service_pb2 as pb
from plait.v1 import types_pb2 as t
from tests.unit.cli.conftest import FakeGateway, Run

DAY = 86_400


def interests(*named: tuple[str, float], distinct: int = 0) -> pb.Interests:
    made = pb.Interests(distinct_count=distinct or len(named))
    for name, share in named:
        made.interests.add(name=name, share=share, event_count=4).last_event_time.GetCurrentTime()
    return made


@pytest.fixture
def known(gateway: FakeGateway) -> pb.Profile:
    profile = gateway.profile
    activity = pb.Activity(
        event_count=3258, event_count_7_days=12, event_count_30_days=45, purchase_count=3000,
        purchase_count_30_days=40, active_day_count=110, usual_days_between=2, repeat_share=0.45,
    )  # fmt: skip
    now = int(time.time())
    activity.first_event_time.FromSeconds(now - 400 * DAY)
    activity.last_event_time.FromSeconds(now - 3 * DAY - 60)
    activity.last_purchase_time.FromSeconds(now - 4 * 3600 - 60)
    profile.activity.CopyFrom(activity)
    profile.domains.CopyFrom(interests(("GROCERY", 0.75), ("DRUG", 0.25)))
    profile.categories.CopyFrom(interests(*((f"[kind {n}]", 0.15) for n in range(6)), distinct=7))
    profile.price_level.CopyFrom(
        pb.PriceLevel(
            basis=pb.PRICE_BASIS_PURCHASES, level=0.8, usual_price=2.5, low_price=1.25,
            high_price=4, event_count=9,
        )
    )  # fmt: skip
    profile.session.event_count = 2
    profile.session.start_time.FromSeconds(now - 300)
    profile.session.categories.CopyFrom(interests(("YOGURT", 1.0)))
    return profile


def test_a_profile_says_in_words_what_is_known(
    gateway: FakeGateway, known: pb.Profile, run: Run
) -> None:
    result = run("profile", "718", "--gateway", gateway.address)
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    for said in (
        "Shopper 718",
        "last 3 days ago; 12 events in the last 7 days, 45 in the last 30, 3,258 since",
        "on 110 days, usually every 2 days",
        "last 4 hours ago; 40 purchases in the last 30 days, 3,000 in all; 45% of them of what",
        "usually 2.50, half of it between 1.25 and 4.00; dear for what it is, 0.80",
        "2 events, the first 5 minutes ago, about YOGURT 100%",
        "Domains GROCERY 75% 4 just now",
        "[kind 4] 15%",
        "2 others 25%",
    ):
        assert said in words, (said, words)
    assert "[kind 5]" not in words
    assert max(len(line) for line in result.output.splitlines()) <= 110


def test_json_holds_the_whole_profile(gateway: FakeGateway, known: pb.Profile, run: Run) -> None:
    answer = json.loads(run("profile", "718", "--gateway", gateway.address, "--json").output)
    assert answer["user_id"] == "718"
    assert len(answer["categories"]["interests"]) == 6
    assert answer["price_level"]["basis"] == "PRICE_BASIS_PURCHASES"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activity": {"event_count": 1}}, "nothing so far"),
        ({"activity": {"event_count": 1}}, "not here"),
        ({"price_level": {"basis": pb.PRICE_BASIS_INTEREST}}, "what was looked at"),
        ({"price_level": {"level": 0.1}}, "cheap for what it is"),
        ({"price_level": {"level": 0.5}}, "middle-priced for what it is"),
        ({"activity": {"event_count": 1, "truncated": True}}, "were not read"),
        ({"unknown_item_count": 3}, "does not have"),
    ],
)
def test_what_is_special_is_said(
    gateway: FakeGateway, run: Run, changes: dict[str, Any], words: str
) -> None:
    gateway.profile.MergeFrom(pb.Profile(**({"activity": {"event_count": 1}} | changes)))
    assert words in " ".join(run("profile", "718", "--gateway", gateway.address).output.split())


def test_an_unknown_shopper_is_no_error(gateway: FakeGateway, run: Run) -> None:
    result = run("profile", "nobody", "--gateway", gateway.address)
    assert result.exit_code == 0
    assert "Nothing is known of shopper nobody" in result.output


def test_what_just_happened_goes_along(gateway: FakeGateway, run: Run) -> None:
    run("profile", "new", "--gateway", gateway.address, "--event", "view:100")
    (asked,) = gateway.asked
    assert asked.user_id == "new"
    assert [(e.type, e.item_id) for e in asked.events] == [(t.EVENT_TYPE_VIEW, "100")]
