"""What `plait models` says of the servers behind a source."""

import pytest

from cli.models import in_use, replicas
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
