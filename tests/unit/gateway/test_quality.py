"""The quality factor goes down under load, up without, and does not flicker between."""

from gateway.quality import LADDER, Quality


class Shop:
    """A quality factor and the time it goes by."""

    def __init__(self, floor: float = LADDER[-1]) -> None:
        self.now = 0.0
        self.quality = Quality(floor=floor, clock=lambda: self.now)

    def note(self, load: float, seconds: float) -> list[float]:
        """Note a load ten times a second; return the factors there were, each once in a row."""
        seen = [self.quality.factor]
        for _ in range(round(10 * seconds)):
            self.quality.note(load, self.now)
            if self.quality.factor != seen[-1]:
                seen.append(self.quality.factor)
            self.now += 0.1
        return seen


def test_it_goes_down_step_by_step_and_up_again_more_slowly() -> None:
    shop = Shop()
    assert shop.note(load=1.2, seconds=2.0) == list(LADDER)
    assert shop.note(load=0.1, seconds=1.0) == list(LADDER[:-4:-1])
    assert shop.note(load=0.1, seconds=2.0)[-1] == 1.0


def test_between_high_and_low_it_stays_where_it_is() -> None:
    shop = Shop()
    shop.note(load=0.9, seconds=0.1)
    assert shop.quality.factor == LADDER[1]
    assert shop.note(load=0.4, seconds=60.0) == [LADDER[1]]


def test_a_step_is_given_time_to_show_its_effect() -> None:
    shop = Shop()
    for instant in (0.0, 0.01, 0.02, 0.03):
        shop.quality.note(5.0, instant)
    assert shop.quality.factor == LADDER[1]


def test_where_nobody_asks_there_is_no_load_and_the_next_ranking_is_whole() -> None:
    shop = Shop()
    shop.note(load=2.0, seconds=3.0)
    shop.now += 2.0
    assert shop.quality.factor == LADDER[-1]
    shop.now += 2.0
    assert shop.quality.factor == 1.0
    shop.quality.note(0.9, shop.now)  # and it goes down from there, not from where it was
    assert shop.quality.factor == LADDER[1]


def test_numbers_are_scaled_but_never_below_what_a_page_needs_nor_above_the_usual() -> None:
    shop = Shop()
    assert shop.quality.of(200) == 200
    shop.note(load=2.0, seconds=3.0)
    assert shop.quality.of(200) == 60
    assert shop.quality.of(200, least=100) == 100
    assert shop.quality.of(20, least=100) == 20


def test_a_floor_of_one_switches_it_off() -> None:
    shop = Shop(floor=1.0)
    assert shop.note(load=9.0, seconds=3.0) == [1.0]
