"""Requests go to replicas that read them, and are written for what most replicas read."""

import numpy as np
import pytest

from gateway.replicas.contract import Contract, newness, prevailing
from inference import inference_pb2 as pb
from services.runtime.tensors import write_request


def contract(version: str, *inputs: str, outputs: tuple[str, ...] = ("scores",)) -> Contract:
    return Contract(version, frozenset(inputs), frozenset(outputs))


def request(*inputs: str, outputs: tuple[str, ...] = ("scores",)) -> pb.ModelInferRequest:
    return write_request("cf", {name: np.zeros((1, 1), np.int64) for name in inputs}, outputs)


OLD = contract("1", "history", "query")
NEW = contract("2", "history", "query", "market")


def test_a_request_fits_what_it_was_written_by() -> None:
    assert OLD.fits(request("history", "query"), OLD)
    assert OLD.fits(request("history"), OLD), "a query nobody typed is not sent"


def test_a_request_does_not_fit_a_version_that_wants_more_or_less() -> None:
    assert not NEW.fits(request("history"), OLD), "the market would be missing"
    assert not OLD.fits(request("history", "market"), NEW)
    assert not OLD.fits(request("history", outputs=("scores", "embedding")), OLD)


def test_versions_that_read_the_same_are_interchangeable() -> None:
    assert contract("9", "history", "query").fits(request("history"), OLD)


def test_the_contract_of_most_replicas_prevails_and_the_newest_among_equals() -> None:
    assert prevailing([OLD, OLD, NEW]) == OLD
    assert prevailing([OLD, NEW, NEW]) == NEW
    assert prevailing([OLD, NEW]) == NEW
    assert prevailing([OLD, contract("10", "history", "query"), NEW]) == contract(
        "10", "history", "query"
    )
    assert prevailing([]) is None


@pytest.mark.parametrize(("older", "newer"), [("9", "10"), ("", "1"), ("beta", "1"), ("a", "b")])
def test_versions_are_ordered_as_numbers(older: str, newer: str) -> None:
    assert newness(older) < newness(newer)
