"""What `plait models` says of the servers behind a source."""

from dataclasses import replace

import pytest

from cli.models import Status, arms, in_use, left_out, replicas, sources, unread, versions, within
from cli.scrape import parse

SCRAPE = parse(
    """# TYPE plait_replicas gauge
plait_replicas{source="cf",state="closed"} 2.0
plait_replicas{source="cf",state="half_open"} 1.0
plait_replicas{source="cf",state="away"} 0.0
plait_replicas{source="text",state="closed"} 1.0
"""
)


def test_the_gateways_metrics_say_how_many_servers_of_a_source_are_in_which_state() -> None:
    assert replicas(SCRAPE, "cf") == {"closed": 2, "half_open": 1}
    assert replicas(SCRAPE, "sequence") == {}


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({}, "-"),
        ({"closed": 2}, "2 of 2"),
        ({"closed": 2, "half_open": 1}, "2 of 3 (1 half open)"),
        ({"away": 1, "open": 1}, "0 of 2 (1 away, 1 open)"),
    ],
)
def test_servers_not_in_use_are_counted_by_what_is_with_them(
    states: dict[str, int], said: str
) -> None:
    assert in_use(states) == said


GATEWAY = Status("gateway", "127.0.0.1:50050", "serving", ("0.1.0", "fusion 3"), (), 9, 0.1, 0.2)
# What answers at the usual place of a source: nothing.
NOBODY = Status("cf", "127.0.0.1:50051", "down", (), (), None, None, None)


def test_a_source_that_is_part_of_the_gateway_is_shown_as_the_gateway_has_it() -> None:
    seen = parse(
        """# TYPE plait_model_info gauge
plait_model_info{role="default",source="cf",version="7"} 1.0
plait_model_info{role="default",source="fusion",version="3"} 1.0
# TYPE plait_source_seconds histogram
plait_source_seconds_bucket{source="cf",outcome="ok",version="7",le="0.25"} 4.0
plait_source_seconds_bucket{source="cf",outcome="ok",version="7",le="+Inf"} 4.0
plait_source_seconds_count{source="cf",outcome="ok",version="7"} 4.0
plait_source_seconds_sum{source="cf",outcome="ok",version="7"} 0.5
"""
    )
    cf = within(NOBODY, GATEWAY, seen)
    assert (cf.name, cf.address, cf.health) == ("cf", GATEWAY.address, "serving")
    assert (cf.versions, cf.requests) == (("7",), 4)
    assert versions(seen, "fusion") == ("3",)


def test_a_source_of_its_own_that_is_down_stays_down() -> None:
    assert within(NOBODY, GATEWAY, SCRAPE) is NOBODY


def test_a_model_that_the_gateway_does_not_ask_is_left_out_and_not_down() -> None:
    seen = parse(
        """# TYPE plait_breaker_changes_total counter
plait_breaker_changes_total{source="cf",state="open"} 0.0
# TYPE plait_model_info gauge
plait_model_info{role="default",source="text",version="1"} 1.0
"""
    )
    shown = [NOBODY, replace(NOBODY, name="sequence"), replace(NOBODY, name="text")]
    healths = [s.health for s in left_out([GATEWAY, *shown], sources(seen))]
    assert healths == ["serving", "down", "left out", "down"]


def test_who_answers_without_metrics_is_told_from_who_is_down() -> None:
    mute = replace(GATEWAY, versions=(), requests=None, p50_seconds=None, p99_seconds=None)
    assert unread([mute, NOBODY, replace(NOBODY, health="left out")]) == ["gateway"]
    assert unread([GATEWAY, NOBODY]) == []


def test_a_canary_that_has_answered_nobody_yet_is_compared_too() -> None:
    seen = parse(
        """# TYPE plait_canary_share_ratio gauge
plait_canary_share_ratio{source="cf",version="2"} 0.1
# TYPE plait_source_seconds histogram
plait_source_seconds_count{source="cf",outcome="ok",version="1"} 4.0
"""
    )
    shown = [(arm.version, arm.share, arm.answers) for arm in arms(seen)]
    assert shown == [("1", None, 4), ("2", 10.0, 0)]
