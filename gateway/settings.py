"""The gateway's settings: every number a platform engineer may want to turn.

Set in the [gateway] table of the file PLAIT_CONFIG names, or as
PLAIT_GATEWAY_<FIELD>. Each comment says what a larger or smaller value buys. What
training learns (blend weights, half-lives, strength of each term) is not here: it
comes with the fusion artifact.
"""

from dataclasses import dataclass
from pathlib import Path

from services.runtime.config import Secret
from services.runtime.server import ServerConfig

_NONE = Secret("")
# Sources that place new items, where they are among the sources.
ENCODERS = ("content", "text")
DEFAULT_SOURCES = (
    "cf=127.0.0.1:50051",
    "content=127.0.0.1:50052",
    "sequence=127.0.0.1:50053",
    "text=127.0.0.1:50054",
)


@dataclass(frozen=True)
class GatewaySettings(ServerConfig):
    """Settings of `python -m gateway`, beside those of any server, as they were given."""

    port: int = 50050
    metrics_port: int = 9150
    # Where the fusion artifact lies: REPOSITORY/fusion/<version>/.
    repository: Path = Path("var/models")
    # Fusion version. Empty: at start the one chosen last while running, else the newest that
    # is not refused.
    version: int | None = None
    # The embedded store. One gateway per file: it is locked while the gateway runs.
    state: Path = Path("var/state.sqlite")
    # An acknowledged event survives the gateway's end, however it ends. A power cut (or a
    # crash of the kernel) may cost the last so many milliseconds, plus one sync of the disk.
    # 0: none; every acknowledgement then waits for a sync of the disk (docs/decisions/0011).
    event_sync_ms: float = 100.0
    # Days events are kept, by their own time. 0: for good, at about 200 bytes each. Fewer:
    # a smaller file; histories, "already bought" and duplicates reach back no further.
    event_keep_days: float = 0.0
    # Several gateways share what is recorded through a journal in Valkey, each with a state
    # file of its own: valkey://[USER:PASSWORD@]HOST:PORT/DATABASE, valkeys:// with TLS,
    # unix:///SOCKET. Empty: this gateway is the only one (docs/decisions/0033).
    journal: Secret = _NONE
    # Valkey's password, as it is, where the URL has none: what a Kubernetes Secret gives.
    journal_password: Secret = _NONE
    # The other gateways of the journal, HOST:PORT|HOST:PORT or a name with several addresses;
    # this one may be among them. A new gateway copies the state of one, and so does one that
    # was away for longer than the journal reaches back.
    peers: str = ""
    # How many gateways there are to be, with this one: an alert tells where fewer are scraped.
    wanted_gateways: int = 1
    # How far it reaches back. Longer: fewer copies, more of Valkey's memory (about 150 bytes
    # an event).
    journal_minutes: int = 60
    # NAME=ADDRESS each; a fifth model is one more entry. The name is also the model's. An
    # address is HOST:PORT or unix:/path, several are replicas: cf=a:50051|b:50051. A HOST
    # with several addresses (a headless Service) is several replicas too.
    sources: tuple[str, ...] = DEFAULT_SOURCES
    # Sources that also place new items, as model NAME-items. More of them: new items are
    # found in more ways, and every upsert costs one more call. The usual two count where they
    # are sources.
    item_encoders: tuple[str, ...] = ENCODERS
    # SURFACE=SOURCE: sources that a surface does without, other than SEARCH. What a source
    # costs there is saved, and what it would have found is missing; worth it for one that
    # adds little, as text often does where no query is read (docs/decisions/0013).
    not_asked: tuple[str, ...] = ()

    # Longest a ranking may take. Larger: slow models are still heard; smaller: a slow
    # model costs less. A client that allows less gets its answer earlier.
    max_deadline_ms: int = 250
    # Kept back for merging and replying, on a busy machine too; too small and the answer
    # itself is late.
    merge_reserve_ms: int = 25
    # Part of its time a search may spend on finding, before others score what was found.
    search_share: float = 0.6
    # Candidates asked of each source. More: better recall and deeper paging, more bytes
    # and merging (about 1 us each).
    candidates: int = 200
    # Questions that share a call to a source, at most; a service must take as many
    # (its max_batch_rows). More: less CPU each under load, longer calls.
    rows_per_call: int = 64
    # Calls in flight for each replica of a source; questions that come meanwhile wait and
    # share the next, of which as many again may be sent ahead under load. More: less
    # waiting behind a slow call, smaller batches.
    calls_in_flight: int = 1
    # Places ordered for variety (about 3 us each), and the least a ranking holds if the
    # rules allow it.
    careful_places: int = 40
    default_page_size: int = 20

    # Part of max_deadline_ms that a ranking should take at most under load; as many are
    # worked on at once as manage that. Larger: fuller batches, so more rankings a second,
    # and longer waits; up to an eighth as much again is spent in the queue.
    load_share: float = 0.3
    # Who is served first when not all can be: surfaces of one rank side by side, the first
    # rank first. The last rank is refused first, and under lasting overload altogether.
    surface_order: tuple[str, ...] = ("SEARCH CART", "HOME ITEM SESSION", "RANK")
    # Least that load leaves of candidates and careful_places. Lower: more shoppers are
    # served before any is refused, each from fewer candidates. 1 switches this off.
    least_quality: float = 0.3
    # Time that taking events should need at most; as for rankings. A slow disk then leads
    # to refusals that callers retry rather than to calls that pile up.
    event_target_ms: int = 100
    # Catalogue calls under way at once, upserts of up to 1,000 items each; half as many wait.
    max_catalogue_calls: int = 16
    # Profiles being read at once. More: an analyst's batch is done sooner, and the histories
    # of shoppers who are not in memory wait longer behind it.
    max_profile_calls: int = 4

    # Newest events of a shopper that models see. More: longer memory, larger requests.
    history_length: int = 200
    # Newest events of a shopper that are remembered: the learned ranker reads habits from all
    # of them. More: rarer habits; less: less memory.
    remembered_events: int = 1_000
    # Least that age leaves of an event's weight: old taste is better than none.
    history_floor: float = 0.2
    # Events this close to now are the current session.
    session_minutes: float = 30.0
    # Shoppers whose history is kept in memory, up to 25 bytes for each event remembered.
    cached_users: int = 20_000
    # Markets with trends of their own; the others share the common trend. Each takes
    # 8 bytes an item.
    max_markets: int = 64

    # New items scored in the gateway; beyond it the oldest wait for the next training.
    max_new_items: int = 10_000
    # Longest an upsert waits for the vectors of its new items; without them it is
    # acknowledged all the same and they follow in the background.
    embed_timeout_ms: int = 5_000
    # Pause before vectors that could not be had are asked for again.
    embed_retry_ms: int = 1_000

    # Rankings kept for paging, and how long. More: older pages still turn, about 6 kB each
    # (and up to twenty times that for an explained one, which counts as twenty).
    max_rankings: int = 10_000
    ranking_minutes: float = 15.0

    # Seconds for which a shopper who did nothing since is shown the same ranking again,
    # while catalogue, models and settings stay as they are. More: less work for reloaded
    # pages, and trends that move later; 0: every ranking is made anew.
    idle_seconds: float = 0.0
    # Such rankings kept, about 6 kB each.
    max_idle_rankings: int = 10_000

    # Surfaces whose blend weights follow events that name a ranking (docs/fusion.md), for
    # example ["SEARCH", "ITEM"]. None: weights are what training learned. Where a learned
    # ranker serves they count only when the weighted sum takes over.
    adaptive_surfaces: tuple[str, ...] = ()
    # Each weight stays within this factor of the learned one. Larger: a source that turns
    # bad loses more of its say, and so does a good one by clicks that lie.
    adaptive_factor: float = 8.0
    # How far one click moves the weights. Larger: found and recovered sooner, and noisier.
    adaptive_rate: float = 0.01
    # A place is looked at with the probability place ** -this; a click counts for those who
    # did not look. 0: every place is. Too large: clicks far down count too much.
    adaptive_examination: float = 1.0

    # Who may change which versions answer whom (RolloutService): callers on this machine
    # ("loopback"), "anyone" or "off". A proxy beside the gateway makes strangers look local.
    rollouts: str = "loopback"

    # What was shown to whom, one JSON line per reply, for training and audits. Empty: none.
    exposure_log: Path | None = Path("var/exposures.jsonl")
    # The log moves to NAME.1 when it is larger, so at most twice this is on disk.
    exposure_log_mb: int = 64

    # Longest the start waits for sources to be reached. Longer: fewer partial answers right
    # after a start; the gateway serves without the missing ones all the same.
    contact_ms: int = 1_000
    # Pause between attempts to reach a source, and the longest it grows to: small values
    # use a restarted service at once and knock more often on a dead one.
    reconnect_min_ms: int = 100
    reconnect_max_ms: int = 1_000
    # Pause between look-ups of the names in `sources`. Shorter: new replicas are used
    # sooner; longer: fewer questions to DNS.
    look_up_ms: int = 2_000
    # Failures in a row, or share of failures, after which a replica is left to rest. Lower:
    # a broken one costs fewer rankings a source; higher: a stumble is borne.
    breaker_failures: int = 5
    breaker_ratio: float = 0.5
    # First rest of a replica that failed; longer ones follow while it keeps failing.
    breaker_rest_ms: int = 500
    # Share of rows that may be asked of a second replica when the first is slower than its
    # p95 or fails. More: a shorter tail for as much more load; 0: none.
    second_share: float = 0.05
    # Ask models over calls that stay open, which costs a third of a call each time. False:
    # a call for each batch, for a proxy in between that shares calls out among servers.
    open_calls: bool = True
