"""How the gateway deals with the servers behind its sources; see gateway/settings.py."""

from dataclasses import dataclass, field

from gateway.replicas.breaker import Rules


@dataclass(frozen=True, slots=True)
class Settings:
    """The same for every source; times in seconds."""

    # Pause between attempts to reach a server, and the longest it grows to.
    reconnect_min: float = 0.1
    reconnect_max: float = 1.0
    # Pause between look-ups of names.
    look_up: float = 2.0
    rules: Rules = field(default_factory=Rules)
    # Share of rows that may be asked of a second replica; 0: none.
    second_share: float = 0.05
    # Whether questions may share calls that stay open, see line.py.
    open_calls: bool = True
