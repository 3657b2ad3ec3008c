"""What the commands ask of a gateway, and what a person or a machine then reads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from cli.topology import on_free_ports
from plait.v1 import types_pb2 as t
from tests.unit.cli.conftest import FakeGateway, Run


def test_recommend_sends_what_the_options_say(gateway: FakeGateway, run: Run) -> None:
    result = run(
        "recommend", "718", "--gateway", gateway.address, "--surface", "cart", "--item", "100",
        "--event", "view:200", "--event", "purchase:a:b", "--market", "367", "--page-size", "5",
        "--exclude", "9", "--category", "YOGURT", "--min-price", "1.5", "--diversity", "0.25",
        "--boost", "brand=National:-0.5", "--boost", "item=100:1", "--pin", "200", "--bury", "100",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (asked,) = gateway.asked
    assert asked.shopper.user_id == "718"
    assert asked.shopper.market == "367"
    assert [(e.type, e.item_id) for e in asked.shopper.events] == [
        (t.EVENT_TYPE_VIEW, "200"),
        (t.EVENT_TYPE_PURCHASE, "a:b"),
    ]
    assert (asked.surface, list(asked.item_ids)) == (t.SURFACE_CART, ["100"])
    assert (asked.page_size, asked.diversity) == (5, 0.25)
    assert asked.rules.min_price == 1.5
    assert not asked.rules.HasField("max_price")
    assert list(asked.rules.exclude_item_ids) == ["9"]
    assert [(b.WhichOneof("target"), b.weight) for b in asked.rules.boosts] == [
        ("brand", -0.5),
        ("item_id", 1.0),
    ]
    assert (list(asked.rules.pin_item_ids), list(asked.rules.bury_item_ids)) == (["200"], ["100"])


def test_a_table_names_products_prices_and_who_is_missing(gateway: FakeGateway, run: Run) -> None:
    result = run("recommend", "718", "--gateway", gateway.address)
    assert "Greek yogurt [6 oz]" in result.output
    assert "2.50" in result.output
    assert "1 of 2 models answered" in result.output
    assert "sequence LATE" in result.output
    assert "--page-token page-2" in result.output
    assert max(len(line) for line in result.output.splitlines()) <= 110


def test_explain_shows_each_models_share_and_the_reason(gateway: FakeGateway, run: Run) -> None:
    result = run("recommend", "718", "--explain", "--gateway", gateway.address)
    assert "in percent" in result.output
    assert "75" in result.output
    assert "because you bought" in result.output
    assert "boost:category=YOGURT" in result.output
    assert "Left out: 1 price" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("recommend", "718"),
        ("similar", "100"),
        ("search", "yogurt", "--user", "718"),
        ("rank", "718", "100", "200"),
        ("event", "718", "purchase", "100", "200"),
        ("item", "get", "100"),
        ("profile", "718"),
        ("item", "upsert", "100", "--title", "Skyr", "--price", "1.99", "--attribute", "size=6 OZ"),
        ("item", "delete", "100"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_command_speaks_json_and_text(
    gateway: FakeGateway, run: Run, arguments: tuple[str, ...]
) -> None:
    machine = run(*arguments, "--gateway", gateway.address, "--json")
    person = run(*arguments, "--gateway", gateway.address)
    assert machine.exit_code == person.exit_code == 0, machine.output + person.output
    assert isinstance(json.loads(machine.output), dict)
    assert person.output.strip()
    assert gateway.asked[0] == gateway.asked[1]


def test_json_keeps_the_field_names_of_the_protos(gateway: FakeGateway, run: Run) -> None:
    answer = json.loads(run("similar", "100", "--gateway", gateway.address, "--json").output)
    assert answer["items"][0]["item_id"] == "100"
    complete = {"fallback": False, "history_unread": False}
    assert answer["coverage"] == {"asked": 2, "answered": 1, "partial": True, **complete}
    assert gateway.asked[0].surface == t.SURFACE_ITEM


def test_nothing_to_show_is_said_in_words(gateway: FakeGateway, run: Run) -> None:
    gateway.empty = True
    result = run("search", "yogurt", "--gateway", gateway.address)
    assert result.exit_code == 0
    assert "Nothing to show" in result.output
    assert "what sells" not in result.output


def test_no_gateway_is_one_line_that_says_what_to_do(run: Run) -> None:
    address = on_free_ports().gateway.address
    result = run("recommend", "718", "--gateway", address)
    assert result.exit_code == 69
    assert address in result.output
    assert "plait up" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "refused the request: page_size: 0"),
        (grpc.StatusCode.NOT_FOUND, "Not found"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "--timeout"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "try again"),
        (grpc.StatusCode.UNIMPLEMENTED, "is it a Plait gateway"),
        (grpc.StatusCode.INTERNAL, "its log says why"),
        (grpc.StatusCode.FAILED_PRECONDITION, "cannot do this now"),
        (grpc.StatusCode.DATA_LOSS, "DATA_LOSS"),
    ],
    ids=lambda value: value.name if isinstance(value, grpc.StatusCode) else None,
)
def test_each_status_becomes_words_and_an_exit_code(
    gateway: FakeGateway, run: Run, code: grpc.StatusCode, words: str
) -> None:
    gateway.fails = (code, "page_size: 0 is not in 1..200")
    result = run("recommend", "718", "--gateway", gateway.address)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_gateway_that_cannot_at_the_moment_is_not_called_absent(
    gateway: FakeGateway, run: Run
) -> None:
    gateway.fails = (grpc.StatusCode.UNAVAILABLE, "no event was stored: the disk is full")
    result = run("event", "718", "view", "100", "--gateway", gateway.address)
    assert result.exit_code == 69
    assert "at the moment: no event was stored: the disk is full" in result.output
    assert "plait up" not in result.output


def test_a_message_that_is_too_large_is_not_to_be_sent_again(
    gateway: FakeGateway, run: Run
) -> None:
    words = "SERVER: Received message larger than max (5000 vs. 1000)"
    gateway.fails = (grpc.StatusCode.RESOURCE_EXHAUSTED, words)
    result = run("recommend", "718", "--gateway", gateway.address)
    assert "(5000 vs. 1000)): send less at once" in result.output
    assert "try again" not in result.output


def test_words_that_are_not_utf8_are_named(gateway: FakeGateway, run: Run) -> None:
    result = run("recommend", os.fsdecode(b"caf\xe9"), "--gateway", gateway.address)
    assert result.exit_code == 1
    assert "'caf\\udce9': not UTF-8" in result.output


def test_what_a_locale_cannot_spell_is_escaped(gateway: FakeGateway) -> None:
    def plait(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments, "--gateway", gateway.address],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout

    assert json.loads(plait("item", "get", "400", "--json"))["title"] == "K\u00e4se"
    assert "K\\xe4se" in plait("item", "get", "400")


def test_an_item_is_shown_with_who_sells_it_and_its_image(gateway: FakeGateway, run: Run) -> None:
    shown = run("item", "get", "400", "--gateway", gateway.address).output
    assert "Dairy 7" in shown
    assert "2 numbers" in shown


def test_what_the_command_line_says_of_an_item_is_upserted(gateway: FakeGateway, run: Run) -> None:
    words = ("--title", "Skyr", "--domain", "GROCERY", "--brand", "Hof", "--provider", "Dairy 7")
    result = run("item", "upsert", "100", *words, "--gateway", gateway.address)
    assert result.exit_code == 0, result.output
    assert gateway.asked[0].items[0] == t.Item(
        item_id="100", title="Skyr", domain="GROCERY", brand="Hof", provider="Dairy 7"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("recommend", "718", "--event", "view"), "TYPE:ITEM"),
        (("recommend", "718", "--event", "buy:1"), "no event type"),
        (("recommend", "718", "--boost", "YOGURT"), "KIND=NAME:WEIGHT"),
        (("recommend", "718", "--boost", "brand=x:--"), "KIND=NAME:WEIGHT"),
        (("event", "718", "view"), "is about an item"),
        (("event", "718", "view", "1", "2", "--id", "x"), "--id names one event"),
        (("event", "718", "view", "1", "--time", "yesterday"), "RFC 3339"),
        (("item", "upsert"), "either ITEM"),
        (("item", "upsert", "1", "--attribute", "size"), "NAME=VALUE"),
        (("models", "--at", "cf=here"), "NAME=HOST:PORT/METRICS_PORT"),
        (("models", "--at", "cf=here:99999/9151"), "NAME=HOST:PORT/METRICS_PORT"),
        (("models", "promote", "fusion", "9" * 20), "versions are numbers"),
        (("recommend", "718", "--page-size", "3000000000"), "--page-size"),
        (("search", "yogurt", "--page-size", "0"), "--page-size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_bad_argument_is_named_with_an_example(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_items_of_a_file_are_upserted_and_a_bad_line_is_named(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    good = tmp_path / "items.jsonl"
    good.write_text('{"item_id": "1", "price": 2}\n\n{"itemId": "2"}\n')
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"item_id": "1"}\n{"colour": "red"}\n')
    assert run("item", "upsert", "--file", str(good), "--gateway", gateway.address).exit_code == 0
    assert [item.item_id for item in gateway.asked[0].items] == ["1", "2"]
    result = run("item", "upsert", "--file", str(bad), "--gateway", gateway.address)
    assert result.exit_code == 1
    assert "line 2" in result.output
    missing = run("item", "upsert", "--file", str(tmp_path / "none"), "--gateway", gateway.address)
    assert "cannot be read" in missing.output


def test_a_line_ends_only_where_json_says_so(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes('{"item_id": "1", "title": "one\u2028two\u0085three"}\r\n'.encode())
    result = run("item", "upsert", "--file", str(path), "--gateway", gateway.address)
    assert result.exit_code == 0, result.output
    assert gateway.asked[0].items[0].title == "one\u2028two\u0085three"


@pytest.mark.parametrize("name", ["file", "standard input"])
def test_items_are_read_as_utf8_whatever_the_locale_and_with_a_mark(
    gateway: FakeGateway, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"item_id": "1", "title": "K\u00e4se"}\n', encoding="utf-8-sig")
    told = str(path) if name == "file" else "-"
    subprocess.run(
        [sys.executable, "-m", "cli.main", "item", "upsert", "--file", told,
         "--gateway", gateway.address],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        input=path.read_bytes(),
        check=True,
    )  # fmt: skip
    assert gateway.asked[0].items[0].title == "K\u00e4se"


def test_many_and_large_items_take_several_calls_and_one_answer(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "items.jsonl"
    small = [{"item_id": str(n)} for n in range(1001)]
    large = [{"item_id": f"l{n}", "text": "x" * 5_000_000} for n in range(2)]
    path.write_text("".join(f"{json.dumps(item)}\n" for item in [*small, *large]))
    told = ("item", "upsert", "--file", str(path), "--gateway", gateway.address)
    result = run(*told, "--json")
    assert json.loads(result.stdout)["created_count"] == 1003
    assert [len(request.items) for request in gateway.asked] == [1000, 2, 1]
    path.write_text("\n")
    assert json.loads(run(*told, "--json").stdout)["created_count"] == 0


def test_a_call_refused_after_others_says_what_was_stored(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text("".join(f'{{"item_id": "{n}"}}\n' for n in range(1500)))
    gateway.takes = 1
    result = run("item", "upsert", "--file", str(path), "--gateway", gateway.address)
    assert result.exit_code == 1
    assert "1000 of 1500 items were stored before" in result.output


def test_events_carry_time_price_and_market(gateway: FakeGateway, run: Run) -> None:
    run(
        "event", "718", "purchase", "100", "--gateway", gateway.address, "--price", "0.99",
        "--market", "large", "--time", "2025-11-03T09:30:00Z", "--id", "e-1",
    )  # fmt: skip
    (event,) = gateway.asked[0].events
    assert (event.price, event.market, event.event_id) == (0.99, "large", "e-1")
    assert event.event_time.ToJsonString() == "2025-11-03T09:30:00Z"
