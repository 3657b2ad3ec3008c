"""The plot of `plait demo`: prepare, start five processes, walk, stop."""

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

import click
from rich.console import Console

from cli.client import Gateway
from cli.demo import prepare
from cli.demo.latency import latency
from cli.demo.losing import loss
from cli.demo.places import Places, Portion
from cli.demo.searching import search
from cli.demo.shoppers import choose
from cli.demo.shopping import home, newcomer, purchase, related
from cli.demo.walk import Walk
from cli.fleet_config import FleetConfig
from cli.options import example
from cli.output import console, heading
from cli.processes import SUPERVISOR, Fleet
from cli.topology import Topology, on_free_ports, taken_ports, usual
from models.data.dataset import Dataset

STEPS = (home, purchase, newcomer, related, search, loss, latency)


@click.command(epilog=example("plait demo", "plait demo --prepare-only"))
@click.option("--prepare-only", is_flag=True, help="Import, train and seed; start nothing.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("var"),
    show_default=True,
    help="Where data, models and stores are kept.",
)
@click.option("--households", default=0, hidden=True, help="Use only so many households.")
@click.option("--products", default=0, hidden=True, help="Use only the most bought products.")
@click.option("--quick", is_flag=True, hidden=True, help="Train for seconds, not for quality.")
def demo_command(
    root: Path, households: int, products: int, *, prepare_only: bool, quick: bool
) -> None:
    """Train four models on real data and walk through what Plait does with them.

    The first time takes some minutes, later ones some seconds. Nothing is left
    running; a claim that does not hold ends the demo with an exit code.
    """
    began = time.perf_counter()
    signal.signal(signal.SIGTERM, _end)
    out, places = console(), Places(root)
    out.rule(heading("The data"), align="left")
    data = prepare.dataset(places, Portion(households, products), out)
    out.rule(heading("The models"), align="left")
    prepare.models(places, data, out, preset="quick" if quick else "demo")
    prepare.stores(places, data, out)
    if not prepare_only:
        play(data, places, out)
    out.print(f"\nAll of it took {time.perf_counter() - began:.0f} s.", style="dim")


def play(data: Dataset, places: Places, out: Console) -> None:
    """Start the five processes, take the seven steps, stop; raises UserError."""
    cast = choose(data)
    (places.own / "exposures.jsonl").unlink(missing_ok=True)
    with places.log.open("w") as log:
        config = FleetConfig(
            repository=places.models,
            state=places.played,
            topology=_ports(out),
            settings={
                "PLAIT_GATEWAY_EXPOSURE_LOG": str(places.own / "exposures.jsonl"),
                # A machine that is busy elsewhere must not look like a missing model.
                "PLAIT_GATEWAY_MAX_DEADLINE_MS": "1000",
            },
        )
        fleet = Fleet(config, lambda name, line: _note(log, out, name, line))
        out.rule(heading("Five processes"), align="left")
        with fleet, Gateway(fleet.topology.gateway.address) as gateway:
            walk = Walk(fleet, gateway, cast, out)
            walk.settle()
            for step in STEPS:
                step(walk)
            out.print()
    out.print(
        f"All seven steps held. The processes have stopped; what they said: {places.log}. "
        "`make up` starts them for you."
    )


def _ports(out: Console) -> Topology:
    taken = taken_ports(usual())
    if not taken:
        return usual()
    listed = ", ".join(str(port) for _, _, port in taken)
    out.print(f"Taken already: port {listed}; the demo uses free ones.")
    return on_free_ports()


def _note(log: TextIO, out: Console, name: str, line: str) -> None:
    log.write(f"{name} {line}\n")
    log.flush()
    if name == SUPERVISOR:
        out.print(f"  {line}", style="dim")


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leave through every `with`, so that nothing is left running."""
    sys.exit(128 + signal.SIGTERM)
