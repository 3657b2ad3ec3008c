"""`plait models load, canary, promote, rollback, unload`: the life of a model version.

Loading and the default version are the model services' business, who is answered
by which version is the gateway's; each command asks whom it concerns, in the order
that leaves every shopper with an answer.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from cli.client import Gateway
from cli.failures import UserError
from cli.fleet_options import endpoints, fleet_options, repeated
from cli.model_server import PREVIOUS, ModelServer, ServerUnreachable, each, half_way
from cli.options import TIMEOUT, Within, example, together
from cli.output import console, print_json
from cli.scrape import scrape
from cli.topology import FUSION, GATEWAY, Endpoint
from plait.v1 import rollout_service_pb2 as pb

F = TypeVar("F", bound=Callable[..., Any])


def _options(function: F) -> F:
    return together(
        click.option(
            "--timeout", default=120.0, show_default=True, metavar="SECONDS",
            type=TIMEOUT, help="Of each call; loading takes some.",
        ),
        fleet_options,
    )(function)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where everything is, and how long to wait for it."""

    ends: Sequence[Endpoint]
    timeout: float

    def servers(self, source: str, stack: ExitStack) -> list[ModelServer]:
        """Connect to the replicas of a source; raises UserError for an unknown one."""
        found = [e for e in self.ends if e.name == source and source != GATEWAY]
        if not found:
            have = ", ".join(dict.fromkeys(e.name for e in self.ends if e.name != GATEWAY))
            raise UserError(f"There is no source '{source}' here; there is {have}")
        stack.enter_context(self._told_of_embedded(source))
        return [stack.enter_context(ModelServer(source, e.address, self.timeout)) for e in found]

    def gateway(self, stack: ExitStack) -> Gateway:
        """Connect to the gateway."""
        return stack.enter_context(Gateway(self._gateway.address, self.timeout))

    @property
    def _gateway(self) -> Endpoint:
        return next(e for e in self.ends if e.name == GATEWAY)

    @contextmanager
    def _told_of_embedded(self, source: str) -> Iterator[None]:
        """Where nothing answers because the gateway has the models inside, say so."""
        try:
            yield
        except ServerUnreachable:
            if not self._inside(source):
                raise
            raise UserError(
                f"{source} is a part of the gateway at {self._gateway.address} (`plait up "
                "--embedded`), whose versions change with a restart: stop it and start it with "
                f"PLAIT_{source.upper()}_VERSION=2 before the command for version 2, or run "
                "`plait up` for models that change under way"
            ) from None

    def _inside(self, source: str, **labels: str) -> tuple[str, ...]:
        """Return the versions of a source that the gateway has itself, as an embedded one does."""
        end = self._gateway
        try:
            seen = scrape(end.address.rpartition(":")[0], end.metrics_port)
        except OSError:
            return ()
        return seen.values("plait_model_info", "version", source=source, **labels)

    def stays(self, source: str, version: str, address: str) -> str:
        """Say what is with a version of a server that does not answer; "" where it has gone."""
        if not self._inside(source):
            return f"{address} does not answer, so version {version} may still be loaded there"
        if version not in self._inside(source, role="beside"):
            return ""
        return (
            f"version {version} stays loaded: {source} is a part of the gateway at "
            f"{self._gateway.address}, whose versions change with a restart"
        )


def _fleet(options: dict[str, Any]) -> Fleet:
    ends = endpoints(options["base_port"], options["metrics_base_port"], options["places"])
    return Fleet(ends, options["timeout"])


@click.command(epilog=example("plait models load cf 2"))
@click.argument("source")
@click.argument("version", required=False)
@_options
def load(source: str, version: str | None, **options: Any) -> None:
    """Load VERSION of SOURCE beside the default one, the newest if none is named.

    It is proven by its samples first. Nobody is answered by it until a canary or a
    promotion says so.
    """
    if source == FUSION:
        raise UserError("The gateway holds one fusion at a time: `plait models promote fusion`")
    with ExitStack() as stack:
        servers = _fleet(options).servers(source, stack)
        wanted = version or servers[0].newest()
        again = f"once all answer, `plait models load {source} {wanted}{repeated(options)}` again"
        done = f"loaded version {wanted}"
        each(servers, lambda server: server.load(wanted, beside=True), done, again)
        served = servers[0].versions()
    if served[-1] == wanted:
        said = f"{source}: version {wanted} is the default already"
    else:
        said = (
            f"{source}: version {wanted} is loaded beside {served[-1]}; now "
            f"`plait models canary {source} {wanted} --share 10{repeated(options)}`"
        )
    _tell(options, said, source=source, default=served[-1], beside=served[:-1])


@click.command(epilog=example("plait models unload cf 2"))
@click.argument("source")
@click.argument("version")
@_options
def unload(source: str, version: str, **options: Any) -> None:
    """Unload VERSION of SOURCE, which must not be the default one, to free its memory."""
    with ExitStack() as stack:
        servers = _fleet(options).servers(source, stack)
        then = "once they answer, unload it from the others alone, naming them with --at"
        each(servers, lambda server: server.unload(version), f"unloaded version {version}", then)
        served = servers[0].versions()
    said = f"{source}: version {version} is unloaded, {', '.join(served)} serves"
    _tell(options, said, source=source, default=served[-1], beside=served[:-1])


@click.command(epilog=example("plait models canary cf 2 --share 10"))
@click.argument("source")
@click.argument("version")
@click.option(
    "--share", required=True, type=Within(0, 100, min_open=True), metavar="PERCENT",
    help="Of the shoppers, the same ones on every request.",
)  # fmt: skip
@_options
def canary(source: str, version: str, share: float, **options: Any) -> None:
    """Have VERSION of SOURCE answer a share of the shoppers.

    Again with a larger share, it keeps those who were in. End it with promote or
    rollback.
    """
    with ExitStack() as stack:
        gateway = _fleet(options).gateway(stack)
        request = pb.SetCanaryRequest(source=source, model_version=version, share=share)
        made = gateway.call(gateway.rollouts.SetCanary, request).canary
    there = repeated(options)
    said = (
        f"{source}: version {made.model_version} answers {made.share:g} % of the shoppers; "
        f"`plait models{there}` compares, then `plait models promote {source}{there}` or "
        f"`plait models rollback {source}{there}`"
    )
    _tell(options, said, source=source, version=made.model_version, share=made.share)


@click.command(
    epilog=example(
        "plait models promote cf", "plait models promote cf 2", "plait models promote fusion 2"
    )
)
@click.argument("source")
@click.argument("version", required=False)
@_options
def promote(source: str, version: str | None, **options: Any) -> None:
    """Make VERSION of SOURCE the default, that of its canary if none is named.

    The version before finishes its calls and is unloaded; rollback loads it again.
    SOURCE fusion is the gateway's own artifact; of it, the newest version if none is named.
    """
    if source == FUSION:
        _load_fusion(pb.LoadFusionRequest(version=_number(version)), options)
        return
    with ExitStack() as stack:
        fleet = _fleet(options)
        servers, gateway = fleet.servers(source, stack), fleet.gateway(stack)
        wanted = version or _canary_version(gateway, source)
        done, again = _promoted(source, wanted, options)
        each(servers, lambda server: server.load(wanted), done, again)
        # Only now: until the default is the new version, its canary must go on.
        end = pb.EndCanaryRequest(source=source)
        with half_way(servers, done, again):
            gateway.call(gateway.rollouts.EndCanary, end)
    _tell(
        options,
        f"{source}: version {wanted} answers everybody; back with "
        f"`plait models rollback {source}{repeated(options)}`",
        source=source,
        default=wanted,
    )


@click.command(epilog=example("plait models rollback cf"))
@click.argument("source")
@_options
def rollback(source: str, **options: Any) -> None:
    """Go back to what served SOURCE before: end its canary, or undo its promotion."""
    if source == FUSION:
        _load_fusion(pb.LoadFusionRequest(previous=True), options)
        return
    with ExitStack() as stack:
        fleet = _fleet(options)
        servers, gateway = fleet.servers(source, stack), fleet.gateway(stack)
        ended = gateway.call(gateway.rollouts.EndCanary, pb.EndCanaryRequest(source=source))
        if ended.HasField("canary"):
            version = ended.canary.model_version
            for said in filter(None, (_forget(fleet, server, version) for server in servers)):
                sys.stderr.write(f"{said}\n")
            said = f"{source}: the canary of version {version} has ended"
            _tell(options, f"{said}, the default answers everybody", source=source, ended=version)
            return
        first, *others = servers
        first.load(PREVIOUS)
        default = first.versions()[-1]
        # A second rollback would lead the first nowhere.
        done, again = _promoted(source, default, options)
        each(others, lambda server: server.load(PREVIOUS), done, again, (first,))
    said = f"{source}: version {default} answers everybody"
    _tell(options, said, source=source, default=default)


def _promoted(source: str, version: str, options: dict[str, Any]) -> tuple[str, str]:
    """Say of servers that a version is their default, and how it becomes that of all."""
    command = f"plait models promote {source} {version}{repeated(options)}"
    return f"answer by version {version}", f"once all answer, `{command}` makes it that of all"


def _load_fusion(request: pb.LoadFusionRequest, options: dict[str, Any]) -> None:
    with ExitStack() as stack:
        gateway = _fleet(options).gateway(stack)
        fusion = gateway.call(gateway.rollouts.LoadFusion, request).fusion
    said = f"{FUSION}: the gateway uses version {fusion.version}"
    if fusion.previous_version:
        back = f"plait models rollback {FUSION}{repeated(options)}"
        said += f"; back to {fusion.previous_version} with `{back}`"
    _tell(options, said, source=FUSION, default=str(fusion.version))


def _number(version: str | None) -> int:
    if version is None:
        return 0
    # Longer ones fit into no request.
    if not (version.isascii() and version.isdecimal() and len(version) < 10 and int(version)):
        raise click.BadParameter(f"{version!r} is no version: versions are numbers from 1")
    return int(version)


def _canary_version(gateway: Gateway, source: str) -> str:
    listed = gateway.call(gateway.rollouts.GetRollouts, pb.GetRolloutsRequest()).canaries
    for made in listed:
        if made.source == source:
            return str(made.model_version)
    raise UserError(
        f"{source} has no canary to promote: name a version, `plait models promote {source} 2`"
    )


def _forget(fleet: Fleet, server: ModelServer, version: str) -> str:
    """Unload a version nobody is sent to any more; return why it stays, which is no failure."""
    try:
        if version not in server.versions()[:-1]:
            return ""
    except ServerUnreachable:  # a model within the gateway, or one that is down
        return fleet.stays(server.name, version, server.address)
    except UserError as error:
        return f"version {version} may still be loaded: {error.message}"
    try:
        server.unload(version)
    except UserError as error:
        return f"version {version} stays loaded: {error.message}"
    return ""


def _tell(options: dict[str, Any], said: str, **facts: object) -> None:
    if options["as_json"]:
        print_json(facts)
    else:
        # Commands in it are to be copied: no line may end within one.
        console().print(said, soft_wrap=True)


COMMANDS = (load, canary, promote, rollback, unload)
