"""The simulation is repeatable, and shows what decided for the rule that is used."""

from benchmarks.balancing import CASES, RULES, compare


def p99(case: str) -> dict[str, float]:
    lines = compare(load=0.5, seconds=10.0, seed=3)
    return {str(line["rule"]): float(line["p99"]) for line in lines if line["case"] == case}


def test_it_is_repeatable_and_complete() -> None:
    lines = compare(load=0.3, seconds=2.0, seed=1)
    assert lines == compare(load=0.3, seconds=2.0, seed=1)
    assert len(lines) == len(CASES) * len(RULES)


def test_a_slow_replica_hurts_least_where_its_slowness_is_seen() -> None:
    slow = p99("one 10 times slower")
    assert min(slow, key=slow.__getitem__) == "soonest (ours)"
    equal = p99("all equal")
    assert equal["soonest (ours)"] < 1.2 * min(equal.values())
