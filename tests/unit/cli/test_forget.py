"""Nobody is forgotten by accident, and who was is said."""

import json

from tests.unit.cli.conftest import FakeGateway, Run


def test_it_is_asked_first(gateway: FakeGateway, run: Run) -> None:
    result = run("forget", "718", "719", "--gateway", gateway.address, input="n\n")
    assert result.exit_code == 1
    assert "kept of 718, 719, for good? [y/N]" in result.output
    assert not gateway.asked


def test_without_anybody_to_answer_nothing_is_deleted(gateway: FakeGateway, run: Run) -> None:
    assert run("forget", "718", "--gateway", gateway.address).exit_code == 1
    assert not gateway.asked


def test_what_was_deleted_is_counted(gateway: FakeGateway, run: Run) -> None:
    result = run("forget", "718", "719", "--gateway", gateway.address, input="y\n")
    assert result.exit_code == 0, result.output
    assert [request.user_id for request in gateway.asked] == ["718", "719"]
    assert "2,400 events and 2 lines of the exposure log deleted" in result.output


def test_a_script_reads_counts(gateway: FakeGateway, run: Run) -> None:
    result = run("forget", "718", "--yes", "--json", "--gateway", gateway.address)
    assert int(json.loads(result.output)["deleted_event_count"]) == 1200


def test_who_was_forgotten_before_one_could_not_be_is_said(gateway: FakeGateway, run: Run) -> None:
    result = run("forget", "718", "unlucky", "719", "-y", "--gateway", gateway.address)
    assert result.exit_code != 0
    assert "not forgotten" in result.output
    assert "(1 of 3 were forgotten before)" in result.output
    assert [request.user_id for request in gateway.asked] == ["718", "unlucky"]
