"""Who is told what of a journal that takes nothing: callers, and the log."""

import pytest
from valkey import Valkey as Client

from benchmarks.valkey import Valkey
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import DeleteItemsRequest, UpsertItemsRequest
from tests.integration.gateway.journaled import copy, healthy, record, refusal, until, view
from tests.integration.gateway.world import Shop


async def test_callers_hear_what_to_do_and_the_log_where_valkey_is(
    first: Shop, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    items = UpsertItemsRequest(items=[t.Item(item_id="x", title="x")])
    gone = DeleteItemsRequest(item_ids=["4"])
    event = "no event was recorded: the journal is away; send them again with the same event_id"

    async def told() -> list[str]:
        calls = (
            record(first, view(8, "e1")),
            first.catalog.UpsertItems(items, timeout=10),
            first.catalog.DeleteItems(gone, timeout=10),
            copy(first, "made up"),
        )
        return [str((await refusal(call)).details()) for call in calls]

    def said(message: str) -> str:
        (found,) = [vars(r) for r in caplog.records if r.getMessage() == message]
        assert found["journal"] == f"127.0.0.1:{valkey.port}"
        return str(found["reason"])

    wanted = [
        event,
        "no item was stored: the journal is away; send them again",
        "no item was deleted: the journal is away; send them again",
        "the journal is away",
    ]
    with Client.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        assert (await told())[:3] == wanted[:3]
        client.config_set("maxmemory", 0)
    assert "maxmemory" in said("the journal takes no write")
    valkey.stop()
    assert await told() == wanted

    async def away() -> bool:
        return not await healthy(first)

    await until(away)
    assert await told() == wanted
    assert said("nothing can be recorded")
