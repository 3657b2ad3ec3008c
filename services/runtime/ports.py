"""Is a place free to listen on? Asked before gRPC is, which answers with a page of its own log."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from services.runtime.errors import StartError

# What the kernel takes: 108 bytes on Linux, 104 elsewhere, one of them the end.
_LONGEST_PATH = 103


def joined(host: str, port: int) -> str:
    """Return HOST:PORT, an IPv6 address in brackets as gRPC and URLs want it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bare_host(host: str) -> str:
    """Return a host as sockets want it: [::1], as it is written before a port, is ::1."""
    return host.removeprefix("[").removesuffix("]")


def check_port(host: str, port: int, setting: str, *, reuse: bool = False) -> None:
    """Raise StartError, in words, where a port cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            hint = "another process listens there; stop it, or set another"
            if error.errno != errno.EADDRINUSE:
                hint = f"{error.strerror}; set another host or"
            raise StartError(f"{joined(host, port)}: cannot listen: {hint} {setting}") from None


def check_socket(path: Path) -> None:
    """Raise StartError where a Unix socket cannot be listened on.

    One that a killed process has left behind can: gRPC takes its place.
    """
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise StartError(f"{path}: longer than the {_LONGEST_PATH} bytes a Unix socket may have")
    if not os.access(path.parent, os.W_OK):
        raise StartError(f"{path}: cannot listen: {path.parent} is missing or read-only")
    if path.exists() and not path.is_socket():
        raise StartError(f"{path}: cannot listen: this is a file; set another socket")
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        raise StartError(
            f"{path}: cannot listen: another process listens there; stop it, or set another socket"
        )


@contextlib.contextmanager
def listening(where: object) -> Iterator[None]:
    """Turn what is raised while binding into a StartError."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise StartError(f"{where}: cannot listen ({error})") from None
