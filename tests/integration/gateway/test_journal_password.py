"""A journal in a Valkey that asks for a password."""

from pathlib import Path

import grpc
import pytest
from valkey import Valkey as Client

from benchmarks.valkey import Valkey
from services.runtime.config import Secret
from tests.integration.gateway.journaled import (
    alone,
    both_hold,
    joined,
    record,
    refusal,
    stored,
    view,
)
from tests.integration.gateway.world import ids

# A URL would need most of it written otherwise.
PASSWORD = "p@ss:/w%rd #1 $(x)"


@pytest.fixture
def locked(valkey: Valkey) -> Valkey:
    with Client.from_url(valkey.url) as client:
        client.config_set("requirepass", PASSWORD)
    return valkey


async def test_gateways_that_know_the_password_share_the_journal(
    directory: Path, other: Path, locked: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    given = Secret(PASSWORD)
    async with (
        alone(directory, locked, journal_password=given) as first,
        joined(other, first, locked, journal_password=given) as second,
    ):
        await record(first, view(4, "e1"))
        await record(second, view(8, "e2"))
        await both_hold(2, first, second)
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("wrong", ["", "another one"])
async def test_a_gateway_with_a_wrong_password_ranks_and_says_why_it_records_nothing(
    directory: Path, locked: Valkey, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    async with alone(directory, locked, journal_password=Secret(PASSWORD)) as shop:
        await record(shop, view(4, "e1"))
    caplog.clear()
    async with alone(directory, locked, journal_password=Secret(wrong)) as shop:
        assert len(ids(await shop.recommend("new"))) > 5
        refused = await refusal(record(shop, view(8, "e2")))
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert len(stored(shop)) == 1
    reasons = [str(vars(r).get("reason", "")).lower() for r in caplog.records]
    assert any("auth" in reason or "password" in reason for reason in reasons), reasons
    assert not wrong or not any(wrong in str(vars(r)) for r in caplog.records)
