"""What the dashboard asks about the sources: seen from the gateway, and from inside."""

from dashboards.panels import SOURCE, Panel, Row, Target, mean, one_by_one, quantile, rate

# Those that were refused, not reachable or not made took no time to speak of: among them, a
# source that is gone would look quick.
_HEARD = f'{SOURCE}, outcome=~"ok|late"'
_SOURCE_HINT = (
    "A call from the gateway to a source and back, network and queue included; of calls that "
    "were answered or ran out of time (the others are in 'Calls by outcome'). Compare with "
    "'Time the model computes': the difference is waiting. A source near the deadline shows up "
    "as late in 'Calls by outcome'."
)
SOURCES = Row(
    "Which source takes the time?",
    (
        *one_by_one("plait_source_seconds", "source", "Time per source", _SOURCE_HINT, _HEARD),
        Panel(
            "Calls by outcome",
            "ok; late: missed the deadline; error: failed or answered nonsense; shed: refused for "
            "load; open: not called, its breaker is open. late and shed: add replicas. error: "
            "read that service's log. open: it failed repeatedly and is tried again by itself.",
            "reqps",
            (
                Target(
                    rate("plait_source_seconds_count", SOURCE, "source, outcome"),
                    "{{source}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Time per source and model version, p99",
            "Two versions of one source side by side during a rollout. If the new one is slower, "
            "roll it back (docs/operations.md).",
            "s",
            (
                Target(
                    quantile(0.99, "plait_source_seconds", _HEARD, "source, version"),
                    "{{source}} {{version}}",
                ),
            ),
        ),
        Panel(
            "Canaries: part of the shoppers",
            "Versions that are rolled out to a share of the shoppers (`plait models`). Nothing "
            "here: the default versions answer everybody.",
            "percentunit",
            (
                Target(
                    f"max by (source, version) (plait_canary_share_ratio{{{SOURCE}}})",
                    "{{source}} {{version}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Canary questions answered by the default",
            "The canary's version was not loaded, failed or was busy, so its shoppers got the "
            "default version: nobody went without, but the comparison is weaker. Load it again, "
            "or end the canary (docs/operations.md).",
            "cps",
            (
                Target(
                    rate("plait_canary_fallbacks_total", SOURCE, "source, version"),
                    "{{source}} {{version}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Scores that were NaN or infinite",
            "The gateway sinks such candidates. Anything but zero is a broken model version: roll "
            "it back.",
            "cps",
            (Target(rate("plait_invalid_scores_total", SOURCE, "source"), "{{source}}"),),
        ),
    ),
)

REPLICAS = Row(
    "Are the servers behind a source well?",
    (
        Panel(
            "Servers by state",
            "As the gateway sees them. closed: in use. open: it kept failing and rests, "
            "half_open: one call at a time tries it again: read its log. draining: it said "
            "NOT_SERVING, a rollout. away: not connected, or its model is not loaded.",
            "short",
            (
                Target(
                    f"sum by (source, state) (plait_replicas{{{SOURCE}}}) > 0",
                    "{{source}} {{state}}",
                ),
            ),
        ),
        Panel(
            "Breakers that changed",
            "How often a server's breaker became open, half_open or closed. open and half_open "
            "in turn, without closed: its trials fail. All three in turn: it stumbles under load.",
            "cps",
            (
                Target(
                    rate("plait_breaker_changes_total", SOURCE, "source, state"),
                    "{{source}} {{state}}",
                ),
            ),
        ),
        Panel(
            "Calls wanted from a second server",
            "Because the first was slower than the source's p95 (slow) or had failed. used: the "
            "second answered first. denied: the budget (second_share) was spent, so most calls "
            "are slow, not one server.",
            "cps",
            (
                Target(
                    rate("plait_second_calls_total", SOURCE, "source, reason, outcome"),
                    "{{source}} {{reason}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Workers by state",
            "Only where a service has several (`workers`). away: it starts, or died and waits for "
            "its turn to start again; the others take its calls.",
            "short",
            (
                Target(
                    f"sum by (source, state) (plait_workers{{{SOURCE}}}) > 0",
                    "{{source}} {{state}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Workers started again",
            "They ended by themselves. Anything but zero is a crash or a memory limit: read the "
            "service's log.",
            "cps",
            (Target(rate("plait_worker_restarts_total", SOURCE, "source"), "{{source}}"),),
            width=12,
        ),
    ),
)

INSIDE = Row(
    "Inside the sources",
    (
        *one_by_one(
            "plait_inference_seconds",
            "source",
            "Time the model computes",
            "One batch in ONNX Runtime. Grows with batch rows; if it grows at equal rows, the "
            "container is throttled: check its CPU limit.",
            SOURCE,
        ),
        *one_by_one(
            "plait_queue_seconds",
            "source",
            "Time in the queue",
            "Waiting for the batch in front. If it exceeds the time the model computes, the "
            "source is saturated: add replicas.",
            SOURCE,
        ),
        Panel(
            "Rows in a batch",
            "The mean. 1 means no load to coalesce; near max_batch_rows (64) means saturation.",
            "short",
            # A quantile of small whole numbers, estimated from buckets, misleads.
            (Target(mean("plait_batch_rows", "source", SOURCE), "{{source}}"),),
        ),
        Panel(
            "Time to assemble batches, p99",
            "Putting calls into one batch and taking the answer apart; Python's own work.",
            "s",
            (Target(quantile(0.99, "plait_batch_seconds", SOURCE, "source"), "{{source}}"),),
        ),
        Panel(
            "Inferences by outcome",
            "Batches per second. Errors here are the model's: read the service's log.",
            "reqps",
            (
                Target(
                    rate("plait_inference_seconds_count", SOURCE, "source, outcome"),
                    "{{source}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Calls dropped before inference",
            "Their deadline had passed or the caller hung up while they waited: work saved, but a "
            "sign of saturation.",
            "cps",
            (Target(rate("plait_expired_calls_total", SOURCE, "source"), "{{source}}"),),
        ),
        Panel(
            "Unknown item keys",
            "Keys in histories and candidates a model or the catalogue was not trained on. Rises "
            "slowly as the catalogue changes: train anew. A jump means a catalogue and a model "
            "that do not belong together.",
            "cps",
            (Target(rate("plait_unknown_items_total", SOURCE, "source"), "{{source}}"),),
        ),
        Panel(
            "Last load of a model",
            "Verification, opening and replayed samples. The start-up probe must allow more than "
            "this.",
            "s",
            (
                Target(
                    f"max by (source, version) (plait_model_load_seconds{{{SOURCE}}})",
                    "{{source}} {{version}}",
                ),
            ),
        ),
        Panel(
            "Queries turned into vectors",
            "kept: the same words were asked a while ago, 0.1 ms. encoded: new words, 2 ms or "
            "more. Hardly any kept: the queries are many more than the 4,096 that fit, or they "
            "are spread over too many servers.",
            "cps",
            (
                Target(
                    rate("plait_query_vectors_total", SOURCE, "source, outcome"),
                    "{{source}} {{outcome}}",
                ),
            ),
            width=24,
        ),
    ),
)
