"""The gateway's settings, refused where they cannot work, and what those in words say.

Each of them, and what it trades, is in settings.py.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.journal.url import TLS, names_valkey
from gateway.replicas.addresses import Address, parse
from gateway.replicas.breaker import Rules
from gateway.replicas.settings import Settings
from gateway.settings import ENCODERS, GatewaySettings
from services.runtime.config import MOST, require

# What services answer at most (services/runtime/engine_model.py).
MOST_CANDIDATES = 1000
# RANK is no place in the shop but a call of its own; elsewhere it is treated as one.
SURFACES = ("HOME", "ITEM", "CART", "SESSION", "SEARCH", "RANK")


@dataclass(frozen=True)
class GatewayConfig(GatewaySettings):
    """The settings, checked. Raises ValueError, naming the field."""

    @property
    def trail_length(self) -> int:
        """Events kept of each shopper."""
        return max(self.history_length, self.remembered_events)

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the field."""
        super().__post_init__()
        self._check_numbers()
        self._check_files()
        self._check_names()

    def _check_numbers(self) -> None:
        positive = (
            "max_deadline_ms", "candidates", "rows_per_call", "calls_in_flight",
            "careful_places", "default_page_size",
            "history_length", "remembered_events", "session_minutes", "cached_users", "max_markets",
            "embed_timeout_ms", "embed_retry_ms", "max_rankings", "ranking_minutes",
            "max_idle_rankings", "exposure_log_mb", "reconnect_min_ms", "reconnect_max_ms",
            "look_up_ms",
            "breaker_failures", "breaker_rest_ms", "event_target_ms", "max_catalogue_calls",
            "max_profile_calls", "journal_minutes", "wanted_gateways",
        )  # fmt: skip
        for name in positive:
            value = getattr(self, name)
            require(value > 0, f"{name} must be positive, is {value}")
            require(value <= MOST, f"{name} must be at most {MOST}, is {value}")
        for name in ("contact_ms", "event_sync_ms", "event_keep_days", "idle_seconds"):
            require(getattr(self, name) >= 0, f"{name} must not be negative")
        for name in ("history_floor", "search_share", "breaker_ratio", "second_share"):
            require(0 <= getattr(self, name) <= 1, f"{name} must lie in 0 .. 1")
        require(self.event_sync_ms <= 3_600_000, "event_sync_ms must be at most 3600000, an hour")
        require(self.adaptive_factor >= 1, "adaptive_factor must be at least 1")
        require(0 < self.adaptive_rate <= 1, "adaptive_rate must lie in 0 .. 1, and above 0")
        require(0 <= self.adaptive_examination <= 3, "adaptive_examination must lie in 0 .. 3")
        require(0 < self.load_share <= 0.6, "load_share must lie in 0 .. 0.6, and above 0")
        require(0 < self.least_quality <= 1, "least_quality must lie in 0 .. 1, and above 0")
        require(self.max_new_items >= 0, "max_new_items must not be negative")
        reserve = "merge_reserve_ms must lie between 0 and max_deadline_ms"
        require(0 <= self.merge_reserve_ms < self.max_deadline_ms, reserve)
        require(self.default_page_size <= 200, "default_page_size must be at most 200")
        most = f"candidates must be at most {MOST_CANDIDATES}, what services answer"
        require(self.candidates <= MOST_CANDIDATES, most)

    def _check_files(self) -> None:
        require(bool(self.state.name), f"state must name a file, is '{self.state}'")
        if (log := self.exposure_log) is not None:
            require(bool(log.name), f"exposure_log must name a file, is '{log}'")
            require(log != self.state, "exposure_log and state are one file")

    def _check_names(self) -> None:
        for name in self.adaptive_surfaces:
            require(
                name in SURFACES,
                f"adaptive_surfaces: '{name}' is not one of {', '.join(SURFACES)}",
            )
        require(
            sorted(self.ranks()) == sorted(SURFACES),
            f"surface_order must name each of {', '.join(SURFACES)} once",
        )
        require(
            self.rollouts in {"loopback", "anyone", "off"},
            f"rollouts must be loopback, anyone or off, is '{self.rollouts}'",
        )
        self._check_journal()
        addresses = self.addresses()
        require(len(addresses) == len(self.sources), "sources: a name is given twice")
        for surface, names in self.surfaces_without().items():
            require(
                surface in SURFACES and surface != "SEARCH" and names < set(addresses),
                f"not_asked: '{surface}={' '.join(sorted(names))}' is not SURFACE=SOURCE, a surface"
                " but SEARCH and some of its sources, not all",
            )
        for name in self.encoders():
            require(name in addresses, f"item_encoders: '{name}' is not among the sources")

    def encoders(self) -> tuple[str, ...]:
        """Return the sources that place new items."""
        if self.item_encoders != ENCODERS:
            return self.item_encoders
        addresses = self.addresses()
        return tuple(name for name in ENCODERS if name in addresses)

    def _check_journal(self) -> None:
        # What it is stays out of the message: there may be a password in it.
        require(
            not self.journal.text or names_valkey(self.journal.text),
            "journal must be valkey://HOST:PORT/DATABASE (or valkeys://), before HOST "
            "[USER:PASSWORD@], or unix:///SOCKET; options of TLS (?ssl_ca_certs=FILE) with "
            f"valkeys:// alone, of {', '.join(sorted(TLS))}",
        )
        given = urlsplit(self.journal.text)
        require(
            not self.journal_password.text or (bool(given.scheme) and given.password is None),
            "journal_password goes with a journal whose URL has no password in it",
        )
        try:
            self.others()
        except ValueError as error:
            raise ValueError(f"peers: {error}") from None

    def others(self) -> tuple[Address, ...]:
        """Return where other gateways of the journal are; raises ValueError."""
        return parse(self.peers) if self.peers else ()

    def ranks(self) -> dict[str, int]:
        """Return surface to rank, 0 for those served first; a surface named twice is an error."""
        named = [(s, rank) for rank, side in enumerate(self.surface_order) for s in side.split()]
        require(len(dict(named)) == len(named), "surface_order: a surface is named twice")
        return dict(named)

    def surfaces_without(self) -> dict[str, set[str]]:
        """Return, by surface, the sources that are not asked there."""
        found: dict[str, set[str]] = {}
        for entry in self.not_asked:
            surface, _, name = (part.strip() for part in entry.partition("="))
            found.setdefault(surface, set()).add(name)
        return found

    def addresses(self) -> dict[str, str]:
        """Return source name to address, in the order given; raises ValueError."""
        found = {}
        for entry in self.sources:
            name, _, address = (part.strip() for part in entry.partition("="))
            try:
                parse(address)
            except ValueError as error:
                raise ValueError(f"sources: '{entry}' is not NAME=HOST:PORT ({error})") from None
            require(bool(name), f"sources: '{entry}' is not NAME=HOST:PORT (it has no name)")
            found[name] = address
        return found

    def replicas(self) -> Settings:
        """Return how to deal with the servers behind the sources."""
        return Settings(
            reconnect_min=self.reconnect_min_ms / 1000,
            reconnect_max=self.reconnect_max_ms / 1000,
            look_up=self.look_up_ms / 1000,
            rules=Rules(
                failures=self.breaker_failures,
                ratio=self.breaker_ratio,
                rest=self.breaker_rest_ms / 1000,
            ),
            second_share=self.second_share,
            open_calls=self.open_calls,
        )
