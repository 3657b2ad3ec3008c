"""Settings that cannot work are refused by name."""

import pytest

from gateway.config import GatewayConfig
from services.runtime.config import ConfigError, load


def test_the_defaults_are_the_five_addresses_of_the_readme() -> None:
    config = load(GatewayConfig, "gateway", {})
    assert (config.host, config.port, config.metrics_port) == ("127.0.0.1", 50050, 9150)
    assert config.addresses() == {
        "cf": "127.0.0.1:50051", "content": "127.0.0.1:50052",
        "sequence": "127.0.0.1:50053", "text": "127.0.0.1:50054",
    }  # fmt: skip


def test_a_fifth_source_is_one_more_entry() -> None:
    given = {"PLAIT_GATEWAY_SOURCES": "cf=a:1, vision=dns:///vision:2"}
    config = load(GatewayConfig, "gateway", given)
    assert config.addresses() == {"cf": "a:1", "vision": "dns:///vision:2"}


@pytest.mark.parametrize(
    ("encoders", "used"),
    [(None, ("text",)), ("", ()), ("vision,text", ("vision", "text"))],
    ids=["usual", "none", "others"],
)
def test_of_the_usual_encoders_those_that_are_sources_place_new_items(
    encoders: str | None, used: tuple[str, ...]
) -> None:
    given = {"PLAIT_GATEWAY_SOURCES": "cf=a:1,text=b:1,vision=c:1"}
    if encoders is not None:
        given["PLAIT_GATEWAY_ITEM_ENCODERS"] = encoders
    assert load(GatewayConfig, "gateway", given).encoders() == used


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SOURCES", "cf", "NAME=HOST:PORT"),
        ("SOURCES", "cf=host:port", "NAME=HOST:PORT"),
        ("SOURCES", "content=a:1,content=a:2,text=a:3", "given twice"),
        ("ITEM_ENCODERS", "vision", "vision"),
        ("MAX_DEADLINE_MS", "0", "max_deadline_ms"),
        ("MERGE_RESERVE_MS", "250", "merge_reserve_ms"),
        ("SEARCH_SHARE", "1.5", "search_share"),
        ("CANDIDATES", "5000", "candidates"),
        ("ADAPTIVE_SURFACES", "HOME,CHECKOUT", "'CHECKOUT' is not one of HOME"),
        ("NOT_ASKED", "CHECKOUT=text", "'CHECKOUT=text' is not SURFACE=SOURCE"),
        ("NOT_ASKED", "SEARCH=cf", "a surface but SEARCH"),
        ("NOT_ASKED", "HOME=vision", "some of its sources"),
        ("NOT_ASKED", "HOME=cf,HOME=content,HOME=sequence,HOME=text", "not all"),
        ("ADAPTIVE_FACTOR", "0.5", "adaptive_factor"),
        ("ADAPTIVE_RATE", "0", "adaptive_rate"),
        ("ADAPTIVE_EXAMINATION", "-1", "adaptive_examination"),
        ("HOST", "", "host must not be empty"),
        ("STATE", "", "state must name a file"),
        ("STATE", "var/exposures.jsonl", "exposure_log and state are one file"),
        ("EXPOSURE_LOG", "/", "exposure_log must name a file"),
        ("HISTORY_LENGTH", "9223372036854775808", "history_length must be at most"),
        ("RECONNECT_MIN_MS", "100000000000", "reconnect_min_ms must be at most"),
        ("MAX_MESSAGE_BYTES", "4294967296", "max_message_bytes must be within"),
        ("EVENT_SYNC_MS", "1e300", "event_sync_ms must be at most"),
        ("PORT", "high", "PORT"),
        ("SUORCES", "cf=a:1", "suorces"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(GatewayConfig, "gateway", {f"PLAIT_GATEWAY_{name}": value})
