"""What the dashboard asks the gateway: are shoppers served, and which stage takes the time?"""

from dashboards.panels import (
    Panel,
    Row,
    Target,
    mean,
    one_by_one,
    quantile,
    quantiles,
    rate,
    share,
)

ANSWERS = Row(
    "Are shoppers served?",
    (
        Panel(
            "Rankings per second",
            "Every ranking by how it ended. ok: all asked sources answered; partial: one is "
            "missing; fallback: trends alone; error: the caller got an error. A drop to zero with "
            "the storefront up means callers cannot reach the gateway: check its pod and Service.",
            "reqps",
            (Target(rate("plait_recommend_seconds_count", by="outcome"), "{{outcome}}"),),
        ),
        Panel(
            "Time of a ranking",
            "What the storefront waits for, but for the network and 'Time waited to be admitted'; "
            "rankings kept for idle shoppers count as no time. If p99 rises alone, look for the "
            "slow source below; if all three rise, the gateway has too little CPU.",
            "s",
            quantiles("plait_recommend_seconds"),
        ),
        Panel(
            "Time of a ranking by surface, p99",
            "SEARCH waits for the text encoder; the others do not. One surface rising alone "
            "points at the sources only it asks.",
            "s",
            (Target(quantile(0.99, "plait_recommend_seconds", by="surface"), "{{surface}}"),),
        ),
        Panel(
            "Partial answers",
            "Share of rankings without at least one asked source. Above 5 % for 5 minutes an "
            "alert fires: find the source in 'Calls by outcome'. Shoppers still see full pages.",
            "percentunit",
            (
                Target(
                    share("plait_partial_answers_total", "plait_recommend_seconds_count"),
                    "partial",
                ),
            ),
            width=4,
            stat=True,
            bad_from=0.05,
        ),
        Panel(
            "No source at all",
            "Share of rankings that are trends alone because every asked source failed. Above 5 % "
            "for 5 minutes somebody is paged: look at the network and at the newest rollout.",
            "percentunit",
            (
                Target(
                    share(
                        "plait_fallbacks_total",
                        "plait_recommend_seconds_count",
                        'reason="no_source"',
                    ),
                    "no source",
                ),
            ),
            width=4,
            stat=True,
            bad_from=0.01,
        ),
        Panel(
            "Partial answers by surface",
            "Rankings per second without at least one asked source.",
            "reqps",
            (Target(rate("plait_partial_answers_total", by="surface"), "{{surface}}"),),
        ),
        Panel(
            "Fallbacks by reason",
            "Rankings per second made of trends alone. nothing_to_ask: a shopper of whom nothing "
            "is known, which is normal. no_source: every source failed, see 'Calls by outcome'. "
            "no_candidates: they answered and had nothing.",
            "reqps",
            (Target(rate("plait_fallbacks_total", by="reason"), "{{reason}}"),),
        ),
        Panel(
            "gRPC calls per second by status",
            "All servers. INVALID_ARGUMENT is a caller's mistake; CANCELLED: it went; "
            "DEADLINE_EXCEEDED: its time ran out. INTERNAL is ours: search the logs for "
            "'unexpected error', each has the id the caller was told.",
            "reqps",
            # Every status is exposed from the start; show those that happen.
            (Target(f"{rate('plait_request_seconds_count', by='outcome')} > 0", "{{outcome}}"),),
        ),
        Panel(
            "gRPC time by method, p99",
            "Every method of every server, from arrival to answer. Health checks that slow down "
            "mean a process without CPU.",
            "s",
            (Target(quantile(0.99, "plait_request_seconds", by="method"), "{{method}}"),),
        ),
        Panel(
            "Processes by readiness",
            "What each says of itself, of the gateway and the model services. Not serving for "
            "minutes: its log says what it is at, loading, a repair of the state file, or the end.",
            "short",
            (
                Target("sum(plait_serving)", "serving"),
                Target("count(plait_serving == 0) or vector(0)", "not serving"),
            ),
        ),
    ),
)

_STAGE_HINT = (
    "fan_out is waiting for the sources; everything else is the gateway's own work and should "
    "stay far below a millisecond. A fusion stage that grows follows the number of candidates."
)
STAGES = Row(
    "Which stage takes the time?",
    (
        *one_by_one("plait_stage_seconds", "stage", "Time per stage", _STAGE_HINT),
        Panel(
            "Time to merge by surface, p99",
            "From the last source's answer to the finished ranking: all of it is the gateway's "
            "CPU. If it grows, lower the candidate count or give the gateway more CPU.",
            "s",
            (Target(quantile(0.99, "plait_merge_seconds", by="surface"), "{{surface}}"),),
        ),
        Panel(
            "Mean time per stage",
            "Not an estimate from buckets, unlike the quantiles: the largest is where an "
            "optimisation pays.",
            "s",
            (Target(mean("plait_stage_seconds", by="stage"), "{{stage}}"),),
        ),
        Panel(
            "Dropped candidates by reason",
            "Candidates a rule left out of a ranking. 'unavailable' rising at once usually means "
            "a catalogue import marked items out of stock: check it before touching Plait.",
            "cps",
            (Target(rate("plait_dropped_candidates_total", by="reason"), "{{reason}}"),),
        ),
    ),
)

# As in the alert: somebody who reads profiles in bulk is no overload.
_NO_PROFILES = 'kind!="PROFILES"'
_ADMITTED = rate("plait_admitted_total", _NO_PROFILES)
_REFUSED = rate("plait_refused_total", f'reason!="cancelled", {_NO_PROFILES}')
LOAD = Row(
    "Is more asked than can be done?",
    (
        Panel(
            "Share of calls refused",
            "Of all rankings, event and catalogue calls. Above 5 % for 5 minutes somebody is "
            "paged: give the gateway and its models more CPU, see 'Shedding load' in the runbook.",
            "percentunit",
            (
                Target(
                    f"({_REFUSED} or vector(0)) / ({_ADMITTED} + ({_REFUSED} or vector(0)))",
                    "refused",
                ),
            ),
            width=4,
            stat=True,
            bad_from=0.05,
        ),
        Panel(
            "Quality factor",
            "The part of the usual candidates that rankings are made of. Below 1 the gateway is "
            "saving work so that nobody is refused; all day below 1 means too little CPU.",
            "percentunit",
            (Target("min(plait_quality_factor)", "least"),),
            width=4,
            stat=True,
        ),
        Panel(
            "Calls refused by kind and reason",
            "full: the queue of its rank is full; no_time: it could not have been in time; "
            "expired: its time ran out in the queue; cancelled: its caller went. RANK goes first, "
            "SEARCH and CART last (surface_order).",
            "reqps",
            (Target(rate("plait_refused_total", by="kind, reason"), "{{kind}} {{reason}}"),),
        ),
        Panel(
            "Calls admitted by kind",
            "What was let in, at once or after a wait. Flat while refusals rise: this is all the "
            "machine can do.",
            "reqps",
            (Target(rate("plait_admitted_total", by="kind"), "{{kind}}"),),
        ),
        Panel(
            "Time waited to be admitted, p99",
            "Zero while there is room. With a full queue about an eighth of the time of a ranking, "
            "and half the time of an event or catalogue call.",
            "s",
            (Target(quantile(0.99, "plait_admission_wait_seconds", by="kind"), "{{kind}}"),),
            width=12,
        ),
        Panel(
            "Limit on calls at once",
            "Learnt from how long calls take. It falls when the machine or the disk gets slower; "
            "one that only ever falls points at a slow model or a neighbour on the node.",
            "short",
            (Target("min by (lane) (plait_admission_limit)", "{{lane}}"),),
            width=12,
        ),
    ),
)
