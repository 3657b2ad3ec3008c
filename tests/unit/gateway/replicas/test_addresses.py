"""What a source's address may be, and what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replicas.addresses import Address, look_up, parse


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("127.0.0.1:50051", ["127.0.0.1:50051"]),
        ("[::1]:50051", ["[::1]:50051"]),
        ("unix:/run/plait/cf.sock", ["unix:/run/plait/cf.sock"]),
        ("plait-cf:50051", [""]),
        ("10.0.0.1:1|10.0.0.2:1", ["10.0.0.1:1", "10.0.0.2:1"]),
        ("a:1 | unix:/b", ["", "unix:/b"]),
    ],
)
def test_addresses_are_dialled_and_names_are_looked_up(text: str, targets: list[str]) -> None:
    assert [address.target for address in parse(text)] == targets


def test_a_name_may_be_written_as_grpc_writes_it() -> None:
    assert (
        parse("dns:///plait-cf:50051") == parse("plait-cf:50051") == (Address("plait-cf", 50051),)
    )


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:port", "host:0", "host:70000", "::1:50051", "a:1|",
             "unix:", "unix:///", "http://a:1", "a:²"],
)  # fmt: skip
def test_what_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|names no socket"):
        parse(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except ValueError as error:
        assert str(error)
    else:
        assert all(a.target or (a.host and 0 < a.port < 65536) for a in found)


async def test_a_name_with_addresses_of_both_kinds_is_looked_up_as_one_kind() -> None:
    found = await look_up(Address("localhost", 7))
    assert found == frozenset({"127.0.0.1:7"})


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 70, "a..b"])
async def test_a_name_that_cannot_be_looked_up_is_not_an_error(name: str) -> None:
    assert await look_up(Address(name, 7)) is None
