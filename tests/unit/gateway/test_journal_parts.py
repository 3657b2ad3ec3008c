"""Entries of the journal, and what of it can be told without Valkey."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from valkey.asyncio import Valkey as Client

from artifacts.keys import item_key
from gateway import schema
from gateway.config import GatewayConfig
from gateway.journal.entries import (
    Deletions,
    Events,
    Forgotten,
    Items,
    NotUnderstood,
    Rollouts,
    decode,
    encode,
)
from gateway.journal.place import Place, put_place, put_position, read_place
from gateway.journal.positions import Bounds
from gateway.rollouts.canary import Canary
from gateway.rollouts.record import Record, parse, written
from gateway.types import Event, EventType, Item
from services.runtime.config import ConfigError, Secret, describe, load

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
KEY = st.integers(1, 2**63 - 1)
EVENT = st.builds(
    Event,
    user_id=TEXT,
    key=st.integers(0, 2**63 - 1),
    type=st.sampled_from(EventType),
    time_ms=st.integers(0, 2**53),
    event_id=TEXT,
    quantity=st.floats(0.001, 1e9),
    price=st.none() | st.floats(0, 1e9),
    market=TEXT,
    query=TEXT,
    ranking_id=TEXT,
)


@given(st.lists(EVENT, max_size=5))
def test_events_come_back_as_they_were(events: list[Event]) -> None:
    assert decode(encode(Events(tuple(events)))) == Events(tuple(events))


@given(st.lists(KEY, min_size=1, max_size=5))
def test_deletions_come_back_as_they_were(keys: list[int]) -> None:
    assert decode(encode(Deletions(tuple(keys)))) == Deletions(tuple(keys))


@given(TEXT)
def test_a_forgotten_shopper_comes_back_as_written(user_id: str) -> None:
    assert decode(encode(Forgotten(user_id))) == Forgotten(user_id)


def test_items_come_back_as_they_were() -> None:
    image = b"\x00\x00\x80\x3f\x00\x00\x00\x40"
    items = (
        Item("a", item_key("a"), "Title", "text", "d", "c", "b", 1.25, False, "p", {"k": "v"}),
        Item("b", item_key("b"), image=image),
    )
    assert decode(encode(Items(items))) == Items(items)


def test_rollouts_come_back_as_they_were() -> None:
    record = Record((Canary("cf", "2", 12.5, "salt", 7),), 3, 2)
    assert decode(encode(Rollouts(written(record)))) == Rollouts(written(record))
    assert parse(written(record)) == record


@pytest.mark.parametrize("raw", [b"", b"\xff\xff", b"\xa2\x06\x00"])
def test_what_a_later_release_may_write_is_not_understood(raw: bytes) -> None:
    with pytest.raises(NotUnderstood):
        decode(raw)


@pytest.mark.parametrize(
    ("bounds", "position", "passed"),
    [
        (Bounds(), 0, False),  # nothing was ever written
        (Bounds(10, 20), 0, False),  # all that was ever written is there
        (Bounds(10, 20, forgotten=True), 0, True),
        (Bounds(10, 20, forgotten=True), 9, True),
        (Bounds(10, 20, forgotten=True), 10, False),
        (Bounds(10, 20, forgotten=True), 20, False),
        (Bounds(0, 20, forgotten=True), 19, True),  # all of it is forgotten
        (Bounds(0, 20, forgotten=True), 20, False),
        (Bounds(0, 5), 20, False),  # Valkey begins anew
    ],
)
def test_entries_are_missed_where_the_journal_forgot_them(
    bounds: Bounds, position: int, passed: bool
) -> None:
    assert bounds.passed(position) is passed


def test_a_file_tells_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    assert read_place(path) == Place()
    with closing(schema.open_state(path)) as connection:
        assert read_place(path) == Place()
        put_place(connection, Place(7, 3, gap=True))
        put_position(connection, 9)
        assert read_place(path) == Place(7, 9, gap=True, empty=True)
        connection.execute(
            "INSERT INTO events (user_id, item_key, type, time_ms, quantity, market) "
            "VALUES ('u', 1, 1, 1, 1.0, '')"
        )
        assert not read_place(path).empty


def test_a_first_start_that_was_cut_short_left_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    sqlite3.connect(path).close()
    assert read_place(path) == Place()


def test_a_password_is_shown_nowhere() -> None:
    url = "valkey://plait:hush@journal:6379/0"
    config = load(GatewayConfig, "gateway", {"PLAIT_GATEWAY_JOURNAL": url})
    assert config.journal == Secret(url)
    assert "hush" not in repr(config)
    assert "hush" not in str(describe(config))
    with pytest.raises(ConfigError) as caught:
        load(GatewayConfig, "gateway", {"PLAIT_GATEWAY_JOURNAL": "http://plait:hush@x"})
    assert "hush" not in str(caught.value)
    assert "valkey" in str(caught.value)


def test_a_password_may_stand_beside_the_url_and_is_shown_nowhere_either(tmp_path: Path) -> None:
    given = {"PLAIT_GATEWAY_JOURNAL": "valkey://plait@a:1/0"}
    given["PLAIT_GATEWAY_JOURNAL_PASSWORD"] = "hu:sh"
    config = load(GatewayConfig, "gateway", given)
    assert config.journal_password == Secret("hu:sh")
    assert "hu:sh" not in repr(config) + str(describe(config))
    for journal in ("", "valkey://plait:other@a:1/0"):
        with pytest.raises(ConfigError, match="journal_password goes with a journal") as caught:
            load(GatewayConfig, "gateway", given | {"PLAIT_GATEWAY_JOURNAL": journal})
        assert "hu:sh" not in str(caught.value)
    file = tmp_path / "plait.toml"
    file.write_text("[gateway]\njournal_password = 4711\n")
    with pytest.raises(ConfigError, match="wants text") as caught:
        load(GatewayConfig, "gateway", {"PLAIT_CONFIG": str(file)})
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://a:1",
        "valkey:a:1",
        "valkey://a:port",
        "valkey://:1",
        "valkey://a:1/x",
        "unix://",
        "valkey://a?decode_responses=1",
        "valkey://a?db=x",
        "valkey://:hu#sh@a",
        "valkey://a?ssl_ca_certs=x",
        "unix:///run/valkey?ssl_ca_certs=x",
        "valkeys://a?ssl_min_version=2",
        "valkeys://a?ssl_cert_reqs=maybe",
        "valkeys://a?ssl_cert_reqs=none&ssl_check_hostname=true",
    ],
)
def test_what_is_no_valkey_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="journal must be valkey://HOST:PORT/DATABASE"):
        load(GatewayConfig, "gateway", {"PLAIT_GATEWAY_JOURNAL": url})


@pytest.mark.parametrize(
    "url",
    [
        "valkey://a",
        "valkeys://u:p@a:1/2",
        "valkey://[::1]:6379/0",
        "unix:///run/valkey",
        "valkeys://a?db=1&ssl_cert_reqs=required&ssl_check_hostname=True&ssl_ciphers=x",
        "valkeys://a?ssl_ca_certs=x&ssl_ca_data=x&ssl_certfile=x&ssl_keyfile=x",
    ],
)
def test_a_valkey_is_named_by_a_url(url: str) -> None:
    config = load(GatewayConfig, "gateway", {"PLAIT_GATEWAY_JOURNAL": url})
    assert config.journal == Secret(url)
    Client.from_url(url).connection_pool.make_connection()  # it takes all of it


@pytest.mark.parametrize("peers", ["nowhere", "a:1|b", "a:0"])
def test_peers_are_addresses(peers: str) -> None:
    with pytest.raises(ConfigError, match="peers"):
        load(GatewayConfig, "gateway", {"PLAIT_GATEWAY_PEERS": peers})
