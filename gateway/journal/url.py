"""Which URLs name a Valkey that a journal may be in."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

# Options of such a URL that say how TLS is to be spoken.
TLS = frozenset(
    f"ssl_{name}"
    for name in (
        "ca_certs", "ca_data", "cert_reqs", "certfile", "check_hostname", "ciphers", "keyfile",
    )
)  # fmt: skip


def names_valkey(url: str) -> bool:
    """Say whether a URL is one that the Valkey client understands."""
    try:
        parts = urlsplit(url)
        port, options = parts.port, parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return False
    secured = {name: value for name, value in options if name.startswith("ssl_")}
    if not all(v.isdecimal() if n == "db" else n in secured for n, v in options):
        return False  # the client would take others, and answer in other ways
    if secured and not (parts.scheme == "valkeys" and _secures(secured)):
        return False  # found out by the first call otherwise
    if parts.scheme == "unix":
        return bool(parts.path)
    database = parts.path.strip("/")
    fine = parts.scheme in {"valkey", "valkeys"} and bool(parts.hostname) and port != 0
    return fine and (not database or (database.isascii() and database.isdecimal()))


def _secures(options: Mapping[str, str]) -> bool:
    """Say whether these are options of TLS that the Valkey client can use."""
    verify, names = options.get("ssl_cert_reqs", "required"), options.get("ssl_check_hostname", "")
    return (
        options.keys() <= TLS
        and verify in {"none", "optional", "required"}
        and names.lower() in {"", "true", "false"}
        and not (verify == "none" and names.lower() == "true")
    )
