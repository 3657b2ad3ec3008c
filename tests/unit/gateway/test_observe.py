"""Versions are labels, and few at a time."""

from prometheus_client import REGISTRY

from gateway import observe
from services.runtime import metrics


def seconds_of(version: str) -> float | None:
    labels = {"source": "watched", "version": version, "outcome": "ok"}
    return REGISTRY.get_sample_value("plait_source_seconds_count", labels)


def note(version: str, now: float) -> str:
    label = observe.bounded("watched", version, now)
    observe._child(metrics.SOURCE_SECONDS, "watched", label, "ok").observe(0.01)
    return label


def test_a_new_version_is_a_label_of_its_own_however_many_there_were() -> None:
    day = 86_400.0
    for number in range(40):
        assert note(str(number), number * day) == str(number)
    assert seconds_of("39") == 1
    assert seconds_of("0") is None, "it is long gone"
    # One that comes back begins anew, where it is seen.
    assert note("0", 40 * day) == "0"
    assert seconds_of("0") == 1


def test_versions_that_are_made_up_are_other_and_take_no_room_from_real_ones() -> None:
    assert observe.bounded("liar", "real", 0.0) == "real"
    named = {observe.bounded("liar", f"v{n}", float(n)) for n in range(100)}
    assert len(named) == 16
    assert "other" in named
    assert observe.bounded("liar", "real", 100.0) == "real"
