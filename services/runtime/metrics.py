"""Every metric of every process, in one place: dashboards and alerts name these.

Latencies are seconds in histograms that resolve well below a millisecond, where
a model's work lies. Labels are bounded: sources, versions, surfaces, outcomes,
stages and fixed reasons; never a user, an item or a query. Where several workers are
one service, counts add up and of a gauge the largest counts (workers/summed.py).
"""

import contextlib
from functools import partial
from typing import Any

import prometheus_client
from prometheus_client import Counter

from services.runtime import histogram
from services.runtime.workers.place import share_counts

_SHARED = share_counts()
# What workers share must be in their files at once: another process is asked for it.
Histogram = prometheus_client.Histogram if _SHARED else histogram.Histogram
Gauge = partial(prometheus_client.Gauge, multiprocess_mode="livemax")

BUCKETS = (
    0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008,
    0.012, 0.016, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
_STAGE_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, *BUCKETS[:15])
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Every gRPC server (model services and gateway).
REQUEST_SECONDS = Histogram(
    "plait_request_seconds",
    "Time from a request's arrival to its answer, by gRPC method and status.",
    ["method", "outcome"],
    buckets=BUCKETS,
)
BUILD_INFO = Gauge(
    "plait_build_info", "Always 1; the release and role of the process.", ["role", "release"]
)
SERVING = Gauge(
    "plait_serving",
    "1 while the process serves; 0 while it starts, drains, cannot or its event loop stands still.",
)

# Model services.
QUEUE_SECONDS = Histogram(
    "plait_queue_seconds",
    "Time a call waits for the batch it rides in.",
    ["source", "version"],
    buckets=BUCKETS,
)
BATCH_SECONDS = Histogram(
    "plait_batch_seconds",
    "Time to assemble a batch and take its answer apart.",
    ["source", "version"],
    buckets=BUCKETS,
)
BATCH_ROWS = Histogram(
    "plait_batch_rows", "Rows in a batch when it runs.", ["source", "version"], buckets=_ROWS
)
INFERENCE_SECONDS = Histogram(
    "plait_inference_seconds",
    "Time the model computes, one batch at a time.",
    ["source", "version", "outcome"],
    buckets=BUCKETS,
)
UNKNOWN_ITEMS = Counter(
    "plait_unknown_items_total",
    "Item keys in histories and candidates that a model or the catalogue does not know.",
    ["source"],
)
QUERY_VECTORS = Counter(
    "plait_query_vectors_total",
    "Queries a model turned into vectors: kept from an earlier call, or encoded.",
    ["source", "outcome"],
)
EXPIRED_CALLS = Counter(
    "plait_expired_calls_total",
    "Calls dropped before inference: deadline passed or cancelled.",
    ["source"],
)
MODEL_INFO = Gauge(
    "plait_model_info",
    "1 for each model version being served; role: default, or beside it for callers that name it.",
    ["source", "version", "role"],
)
MODEL_LOAD_SECONDS = Gauge(
    "plait_model_load_seconds",
    "Time the last load took, replayed samples included.",
    ["source", "version"],
)

WORKERS = Gauge(
    "plait_workers",
    "Processes that share the port of a service, by state: serving, or away (starting, dead).",
    ["source", "state"],
)
WORKER_RESTARTS = Counter(
    "plait_worker_restarts_total",
    "Times a process that shares the port of a service ended by itself and was started again.",
    ["source"],
)

# Gateway.
RECOMMEND_SECONDS = Histogram(
    "plait_recommend_seconds",
    "Time of one ranking, by surface and outcome: ok, partial, fallback, error.",
    ["surface", "outcome"],
    buckets=BUCKETS,
)
SOURCE_SECONDS = Histogram(
    "plait_source_seconds",
    "Time of one call from the gateway to a source, by outcome (ok, late, error, shed, open).",
    ["source", "version", "outcome"],
    buckets=BUCKETS,
)
REPLICAS = Gauge(
    "plait_replicas",
    "Servers of a source by state: closed (in use), half_open, open, draining, away.",
    ["source", "state"],
)
BREAKER_CHANGES = Counter(
    "plait_breaker_changes_total",
    "Times the breaker of a replica became open, half_open or closed.",
    ["source", "state"],
)
SECOND_CALLS = Counter(
    "plait_second_calls_total",
    "Calls a second replica was wanted for, because the first was slow or had failed; outcome: "
    "used, unused (the first answered first, or neither), denied (no budget).",
    ["source", "reason", "outcome"],
)
MERGE_SECONDS = Histogram(
    "plait_merge_seconds",
    "Time from the last source's answer to the finished ranking.",
    ["surface"],
    buckets=BUCKETS,
)
STAGE_SECONDS = Histogram(
    "plait_stage_seconds",
    "Time of one stage of a ranking: read_state, fan_out, turn (to merge), fusion stages, reply.",
    ["stage"],
    buckets=_STAGE_BUCKETS,
)
PARTIAL_ANSWERS = Counter(
    "plait_partial_answers_total",
    "Rankings without at least one source that was asked.",
    ["surface"],
)
FALLBACKS = Counter(
    "plait_fallbacks_total", "Rankings that no model had a part in.", ["surface", "reason"]
)
UNREAD_HISTORIES = Counter(
    "plait_unread_histories_total",
    "Rankings made without the shopper's recorded events, which could not be read in time.",
    ["surface"],
)
DROPPED_CANDIDATES = Counter(
    "plait_dropped_candidates_total", "Candidates left out of a ranking, by reason.", ["reason"]
)
INVALID_SCORES = Counter(
    "plait_invalid_scores_total", "Scores from a source that were NaN or infinite.", ["source"]
)
CANARY_SHARE = Gauge(
    "plait_canary_share_ratio",
    "Part of the shoppers that a version is rolled out to, while one is.",
    ["source", "version"],
)
CANARY_FALLBACKS = Counter(
    "plait_canary_fallbacks_total",
    "Questions of a canary's shoppers put to the default version, as theirs was not to be had.",
    ["source", "version"],
)
ADMITTED = Counter(
    "plait_admitted_total",
    "Calls let in by admission: by surface, or EVENTS, CATALOGUE, PROFILES.",
    ["kind"],
)
REFUSED = Counter(
    "plait_refused_total",
    "Calls not let in: queue full, no_time, expired or cancelled in the queue.",
    ["kind", "reason"],
)
ADMISSION_WAIT = Histogram(
    "plait_admission_wait_seconds",
    "Time a call that was let in had waited for its turn.",
    ["kind"],
    buckets=BUCKETS,
)
ADMISSION_LIMIT = Gauge(
    "plait_admission_limit",
    "Calls that may be worked on at once: rankings and events as learnt, catalogue, profiles.",
    ["lane"],
)
QUALITY_FACTOR = Gauge(
    "plait_quality_factor",
    "Part of the usual candidates that rankings are made of; below 1 under load.",
    # Labelled, so that processes that make no rankings do not expose a 0.
    ["lane"],
)
IDLE_LOOKUPS = Counter(
    "plait_idle_lookups_total",
    "Rankings looked for among those kept for idle shoppers.",
    ["outcome"],
)
EVENTS = Counter("plait_events_total", "Events acknowledged, by type.", ["type"])
EVENT_SECONDS = Histogram(
    "plait_event_commit_seconds", "Time to make a batch of events durable.", buckets=BUCKETS
)
EVENTS_REFUSED = Counter(
    "plait_events_refused_total",
    "Events that could not be made durable: full, failing, damaged, busy.",
    ["reason"],
)
GATEWAYS_WANTED = Gauge(
    "plait_gateways_wanted",
    "Gateways that there are to be, this one included, as it is told; 0: not a gateway.",
)
JOURNAL_STATE = Gauge(
    "plait_journal_state",
    "1 for what the journal that several gateways share is to this one: followed, or away.",
    ["state"],
)
JOURNAL_BEHIND = Gauge(
    "plait_journal_behind_seconds",
    "Age of the oldest entry of the journal that is not taken in; 0: none waits.",
)
JOURNAL_ENTRIES = Counter(
    "plait_journal_entries_total",
    "Entries of the journal taken in, by where they were written: here, or elsewhere.",
    ["written"],
)
JOURNAL_SKIPPED = Counter(
    "plait_journal_skipped_total",
    "Entries of the journal that this gateway could not take in and passed over.",
)
JOURNAL_GAPS = Counter(
    "plait_journal_gaps_total",
    "Times entries of the journal were gone before this gateway had read them.",
)
STORE_STATE = Gauge(
    "plait_store_state",
    "1 for what the state file is now: ok, full, failing or damaged.",
    ["reason"],
)
# With a label, so that only the process that has a state file exposes it.
STORE_BYTES = Gauge(
    "plait_store_bytes",
    "Room the state file and its log take (used), and room left on their disk (free).",
    ["part"],
)
STORE_SET_ASIDE = Gauge(
    "plait_store_set_aside_files", "Damaged state files that were replaced and wait for a person."
)
EVENTS_PRUNED = Counter("plait_events_pruned_total", "Events deleted because they were too old.")
EXPOSURES_LOST = Counter(
    "plait_exposures_lost_total", "Pages shown whose line in the exposure log was not written."
)
ADAPTED_WEIGHT = Gauge(
    "plait_adapted_weight_ratio",
    "Blend weight of a source on a surface whose weights follow events.",
    ["surface", "source"],
)
WEIGHT_UPDATES = Counter(
    "plait_weight_updates_total", "Events that moved the weights of a surface.", ["surface"]
)
EVENTS_UNMATCHED = Counter(
    "plait_events_unmatched_total",
    "Events that name a ranking and moved no weights: ranking (not remembered, or not of "
    "weights that adapt), shopper (another's), item (not shown), again (counted before).",
    ["reason"],
)
CATALOGUE_ITEMS = Gauge("plait_catalogue_items", "Items in the gateway's catalogue.")
EMBEDDED_ITEMS = Gauge(
    "plait_embedded_items", "Items no model was trained on, served by their text and attributes."
)


def forget(gauge: prometheus_client.Gauge, *labels: str) -> None:
    """Expose a series no longer. A worker's shared file keeps it, as 0."""
    if _SHARED:
        gauge.labels(*labels).set(0)
    else:
        gauge.remove(*labels)


def forget_version(source: str, version: str) -> None:
    """Show nothing more of a model version that is served no longer; among workers it stays."""
    if _SHARED:
        return
    series: list[tuple[Any, tuple[str, ...]]] = [
        (metric, (source, version))
        for metric in (QUEUE_SECONDS, BATCH_SECONDS, BATCH_ROWS, MODEL_LOAD_SECONDS)
    ]
    series += [(INFERENCE_SECONDS, (source, version, outcome)) for outcome in ("ok", "error")]
    for metric, labels in series:
        with contextlib.suppress(KeyError):  # it was never counted
            metric.remove(*labels)
