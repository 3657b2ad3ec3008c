"""A process that records known values in Plait's own metrics, for queries to find again.

    python -m tests.contracts.record_metrics gateway|cf

serves them on a free port, which it prints. It ends when its standard input does.
"""

import select
import sys
import threading
from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Metric, start_http_server
from prometheus_client.registry import Collector

from services.runtime import metrics as m

VERSION = "7"
# Rankings of a round: a tenth is partial, a twentieth trends alone.
ROUND = 100
RECORDING = threading.Lock()


def gateway() -> None:
    """One round of rankings: 50 ms each, of which the sources take 20."""
    for number in range(ROUND):
        outcome = "partial" if number < 10 else "fallback" if number < 15 else "ok"
        m.RECOMMEND_SECONDS.labels("HOME", outcome).observe(0.05)
        m.STAGE_SECONDS.labels("fan_out").observe(0.02)
        m.STAGE_SECONDS.labels("calibrate").observe(0.00005)
        m.MERGE_SECONDS.labels("HOME").observe(0.001)
        for source in ("cf", "text"):
            late = source == "text" and number < 10
            m.SOURCE_SECONDS.labels(source, VERSION, "late" if late else "ok").observe(0.02)
            # As many were not made, for a breaker was open: they say nothing of its time.
            m.SOURCE_SECONDS.labels(source, VERSION, "open").observe(0.0)
        m.EVENT_SECONDS.observe(0.004)
    m.REPLICAS.labels("cf", "closed").set(2)
    m.BREAKER_CHANGES.labels("cf", "open").inc()
    m.SECOND_CALLS.labels("cf", "slow", "used").inc()
    m.PARTIAL_ANSWERS.labels("HOME").inc(ROUND / 10)
    m.IDLE_LOOKUPS.labels("hit").inc(ROUND)
    m.FALLBACKS.labels("HOME", "nothing_to_ask").inc(3)
    m.FALLBACKS.labels("HOME", "no_source").inc(2)
    m.UNREAD_HISTORIES.labels("HOME").inc()
    m.DROPPED_CANDIDATES.labels("unavailable").inc(ROUND)
    m.INVALID_SCORES.labels("text").inc()
    m.CANARY_SHARE.labels("cf", VERSION).set(0.1)
    m.CANARY_FALLBACKS.labels("cf", VERSION).inc()
    m.ADMITTED.labels("HOME").inc(ROUND)
    m.ADMISSION_WAIT.labels("HOME").observe(0.01)
    m.REFUSED.labels("RANK", "full").inc(ROUND)
    m.REFUSED.labels("PROFILES", "full").inc(2 * ROUND)
    m.ADMISSION_LIMIT.labels("rankings").set(40)
    m.QUALITY_FACTOR.labels("rankings").set(0.6)
    m.EVENTS.labels("purchase").inc(ROUND)
    m.EVENTS_REFUSED.labels("full").inc()
    m.EVENTS_PRUNED.inc()
    m.EXPOSURES_LOST.inc()
    m.ADAPTED_WEIGHT.labels("CART", "cf").set(0.6)
    m.WEIGHT_UPDATES.labels("CART").inc()
    m.EVENTS_UNMATCHED.labels("again").inc()
    m.GATEWAYS_WANTED.set(1)
    m.JOURNAL_STATE.labels("followed").set(1)
    m.JOURNAL_ENTRIES.labels("elsewhere").inc()
    m.JOURNAL_BEHIND.set(0.5)
    m.JOURNAL_SKIPPED.inc()
    m.JOURNAL_GAPS.inc()
    m.STORE_STATE.labels("ok").set(1)
    m.STORE_BYTES.labels("used").set(1e8)
    m.STORE_BYTES.labels("free").set(1e10)
    m.STORE_SET_ASIDE.set(0)
    m.CATALOGUE_ITEMS.set(20_000)
    m.EMBEDDED_ITEMS.set(3)
    m.REQUEST_SECONDS.labels("/plait.v1.RecommendationService/Recommend", "OK").observe(0.05)


def model() -> None:
    """One round of batches of 4 rows, 2 ms each, after 1 ms in the queue."""
    labels = ("cf", VERSION)
    for _ in range(ROUND):
        m.QUEUE_SECONDS.labels(*labels).observe(0.001)
        m.BATCH_SECONDS.labels(*labels).observe(0.0005)
        m.BATCH_ROWS.labels(*labels).observe(4)
        m.INFERENCE_SECONDS.labels(*labels, "ok").observe(0.002)
    m.UNKNOWN_ITEMS.labels("cf").inc(ROUND)
    m.QUERY_VECTORS.labels("cf", "kept").inc(ROUND)
    m.EXPIRED_CALLS.labels("cf").inc()
    m.MODEL_INFO.labels(*labels, "default").set(1)
    m.WORKERS.labels("cf", "serving").set(2)
    m.WORKER_RESTARTS.labels("cf").inc()
    m.MODEL_LOAD_SECONDS.labels(*labels).set(1.5)
    m.REQUEST_SECONDS.labels("/inference.GRPCInferenceService/ModelInfer", "OK").observe(0.003)


class Whole(Collector):
    """All metrics between two rounds: half a round would tell of other shares."""

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        with RECORDING:
            yield from list(REGISTRY.collect())


def main(role: str) -> None:
    """Record a round every fifth of a second until told to stop."""
    record: Callable[[], None] = gateway if role == "gateway" else model
    m.BUILD_INFO.labels(role, "0.1.0").set(1)
    registry = CollectorRegistry()
    registry.register(Whole())
    server, thread = start_http_server(0, "127.0.0.1", registry)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        with RECORDING:
            record()
    server.shutdown()
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1])
