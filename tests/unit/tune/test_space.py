"""What may be searched, as declared and as written on the command line."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cli.tuning.run import in_words
from cli.tuning.space import as_text, read_space
from models.cf.config import METHODS, Config
from models.data.errors import OptionError
from models.space import Between, OneOf
from models.train import PRESETS, SOURCES, config_of


def configurations() -> Iterator[tuple[str, Any]]:
    for preset in PRESETS:
        for source in SOURCES:
            yield source, config_of(source, preset, 0)
    for method in METHODS:
        yield "cf", Config(method=method)


@pytest.mark.parametrize(("source", "config"), list(configurations()))
def test_every_declared_space_fits_its_configuration(source: str, config: Any) -> None:
    found = read_space(source, config, (), {})
    assert found
    for name, space in found.items():
        assert read_space(source, config, (f"{name}={in_words(space)}",), {}) == {name: space}


def test_what_is_set_is_not_searched() -> None:
    found = read_space("cf", Config(), (), {"half_life_days": "30"})
    assert "half_life_days" not in found
    assert "regularisations" in found


def test_what_is_about_times_is_not_searched_without_them() -> None:
    assert "half_life_days" in read_space("cf", Config(), (), {})
    found = read_space("cf", Config(), (), {}, timed=False)
    assert found
    assert "half_life_days" not in found
    with pytest.raises(OptionError, match="half_life_days has no effect"):
        read_space("cf", Config(), ("half_life_days",), {}, timed=False)


def test_what_is_named_replaces_what_is_declared() -> None:
    texts = ("half_life_days", "top_weights=32,64", "user_powers=-2..0", "dense_items=1..9:log")
    assert read_space("cf", Config(), texts, {}) == {
        "half_life_days": Between(7, 1000, log=True),
        "top_weights": OneOf(("32", "64")),
        "user_powers": Between(-2, 0),
        "dense_items": Between(1, 9, log=True),
    }


def test_choices_may_be_words_and_lists() -> None:
    texts = ("method=ease,als", "regularisations=[100, 300],[50]")
    assert read_space("cf", Config(), texts, {}) == {
        "method": OneOf(("ease", "als")),
        "regularisations": OneOf(("[100, 300]", "[50]")),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense=1..2", "there are: als_regularisations"),
        ("factors", "there are: regularisations"),
        ("half_life_days=9..2", "low is below high"),
        ("half_life_days=0..2:log", "above 0"),
        ("half_life_days=1..2:sqrt", "no other"),
        ("half_life_days=a..b", "FIELD=low..high"),
        ("half_life_days=", "FIELD=low..high"),
        ("half_life_days=often,never", "expected something like -1.0"),
        ("top_weights=1.5..3", "whole number"),
        ("method=1..3", "expected something like 'ease'"),
        ("method=ease,magic", "not one of ease"),
        ('regularisations=["few"],["many"]', "expected something like"),
        ("companions=[1.5],[100]", "expected something like"),
    ],
)
def test_what_cannot_be_searched_is_said_with_what_can(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        read_space("cf", Config(), (text,), {})


def test_a_field_is_set_or_searched() -> None:
    with pytest.raises(OptionError, match="both set and searched"):
        read_space("cf", Config(), ("top_weights=32,64",), {"top_weights": "32"})


def test_numbers_are_written_so_that_people_can_read_and_repeat_them() -> None:
    config = replace(Config(), half_life_days=90.0)
    assert as_text(config, "half_life_days", 4071.96) == "4070"
    assert as_text(config, "bpr_rate", 0.00123456) == "0.00123"
    assert as_text(config, "regularisations", 123.456) == "[123]"
    assert as_text(config, "regularisations", "[1, 2]") == "[1, 2]"
