"""Ports: the usual ones, free ones, and the sentence about a taken one."""

import socket
from dataclasses import replace

import pytest

from cli.failures import UserError
from cli.topology import check_ports, on_free_ports, taken_ports, usual


def test_the_usual_ports_are_those_of_the_documentation() -> None:
    ports = {e.name: (e.port, e.metrics_port) for e in usual().all}
    assert ports == {
        "gateway": (50050, 9150),
        "cf": (50051, 9151),
        "content": (50052, 9152),
        "sequence": (50053, 9153),
        "text": (50054, 9154),
    }


def test_free_ports_are_free_and_all_different() -> None:
    topology = on_free_ports()
    ports = [p for e in topology.all for p in (e.port, e.metrics_port)]
    assert len(set(ports)) == 10
    check_ports(topology)


def test_a_taken_port_is_named_with_its_process() -> None:
    topology = on_free_ports()
    with socket.socket() as taken:
        taken.bind((topology.gateway.host, topology.gateway.metrics_port))
        taken.listen()
        with pytest.raises(UserError, match=f"{topology.gateway.metrics_port} .gateway."):
            check_ports(topology)


def test_a_port_wanted_by_two_processes_is_found() -> None:
    topology = on_free_ports()
    twice = replace(topology, gateway=replace(topology.gateway, port=topology.sources[0].port))
    assert [name for name, _, _ in taken_ports(twice)] == ["cf"]


def test_a_listener_on_every_address_is_dialled_here() -> None:
    assert replace(usual().gateway, host="0.0.0.0").address == "127.0.0.1:50050"
    assert replace(usual().gateway, host="::1").address == "[::1]:50050"


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("192.0.2.1", 50050, r"gateway cannot listen at 192\.0\.2\.1:50050: Cannot assign"),
        ("nowhere.invalid", 50050, "gateway cannot listen at nowhere.invalid:50050: "),
        ("127.0.0.1", 70000, "gateway: 70000 is no port"),
        ("127.0.0.1", 0, "gateway: 0 is no port"),
    ],
)
def test_a_place_that_is_not_to_be_had_is_not_called_taken(host: str, port: int, said: str) -> None:
    topology = on_free_ports()
    with pytest.raises(UserError, match=said):
        check_ports(replace(topology, gateway=replace(topology.gateway, host=host, port=port)))
