"""The quality factor goes down under load, up without, and does not flicker between."""

from gateway.quality import LADDER, Quality


def moved(quality: Quality, load: float, seconds: float, since: float = 0.0) -> float:
    """Note a load ten times a second; return when it ended."""
    for tick in range(round(10 * seconds)):
        quality.note(load, since + tick / 10)
    return since + seconds


def test_it_goes_down_step_by_step_and_up_again_more_slowly() -> None:
    seen: list[float] = []
    quality = Quality(seen.append)
    now = moved(quality, load=1.2, seconds=2.0)
    assert seen == list(LADDER)
    down = len(seen)
    moved(quality, load=0.1, seconds=4.0, since=now)
    assert seen[down:] == list(LADDER[-2::-1])


def test_between_high_and_low_it_stays_where_it_is() -> None:
    quality = Quality()
    now = moved(quality, load=0.9, seconds=0.1)
    assert quality.factor == LADDER[1]
    moved(quality, load=0.4, seconds=60.0, since=now)
    assert quality.factor == LADDER[1]


def test_a_step_is_given_time_to_show_its_effect() -> None:
    quality = Quality()
    for instant in (0.0, 0.01, 0.02, 0.03):
        quality.note(5.0, instant)
    assert quality.factor == LADDER[1]


def test_numbers_are_scaled_but_never_below_what_a_page_needs_nor_above_the_usual() -> None:
    quality = Quality()
    assert quality.of(200) == 200
    moved(quality, load=2.0, seconds=3.0)
    assert quality.of(200) == 60
    assert quality.of(200, least=100) == 100
    assert quality.of(20, least=100) == 20


def test_a_floor_of_one_switches_it_off() -> None:
    quality = Quality(floor=1.0)
    moved(quality, load=9.0, seconds=3.0)
    assert quality.factor == 1.0
