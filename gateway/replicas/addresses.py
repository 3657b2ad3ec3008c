"""From a source's setting to the servers behind it.

`host:port` may be a name with several addresses (a Kubernetes headless Service):
each is a replica. Of a name that has both, only IPv4 addresses are used: a pod has
one of each kind, and would count twice.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

from services.runtime.ports import bare_host

_UNIX = "unix:"
_DNS = ("dns:///", "dns:")


@dataclass(frozen=True, slots=True)
class Address:
    """One part of a setting; `target` is what gRPC dials, "" where a name must be looked up."""

    host: str
    port: int
    target: str = ""


def parse(text: str) -> tuple[Address, ...]:
    """Read `host:port|host:port|unix:/path`; raises ValueError naming the part that is wrong."""
    return tuple(_parse(part.strip()) for part in text.split("|"))


def _parse(part: str) -> Address:
    if part.startswith(_UNIX):
        if not part.removeprefix(_UNIX).strip("/"):
            raise ValueError(f"'{part}' names no socket; write unix:/path")
        return Address("", 0, part)
    host, _, port = part.rpartition(":")
    for prefix in _DNS:
        host = host.removeprefix(prefix)
    bare = bare_host(host)
    # A colon outside brackets is an IPv6 address whose end would be taken for the port.
    clear = bool(bare) and "/" not in bare and (":" not in host or host == f"[{bare}]")
    if not (clear and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"'{part}' is not HOST:PORT or unix:/path")
    try:
        return Address(bare, int(port), _target(ipaddress.ip_address(bare), int(port)))
    except ValueError:
        return Address(bare, int(port))


def _target(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


async def look_up(address: Address) -> frozenset[str] | None:
    """Return what to dial for a name; None where it cannot be told at the moment."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a label that is no host name
        return None
    ips = [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    four = [ip for ip in ips if ip.version == 4]
    return frozenset(_target(ip, address.port) for ip in four or ips)
